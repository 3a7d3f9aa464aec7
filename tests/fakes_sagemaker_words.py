"""How AWS refuses: codes and words."""

import json

ACCOUNT = "123456789012"


class Refused(Exception):
    """An answer with an error. `more` are the error's own fields, as ModelError has them."""

    def __init__(self, code: str, message: str, status: int = 400, **more) -> None:
        super().__init__(message)
        self.code, self.status = code, status
        self.body = json.dumps({"__type": code, "message": message, "Message": message, **more}).encode()


def invalid(message: str) -> Refused:
    return Refused("ValidationException", message)


def taken(what: str, arn: str) -> Refused:
    return invalid(f'Cannot create already existing {what} "{arn}".')


def missing(what: str, arn: str) -> Refused:
    return invalid(f'Could not find {what} "{arn}".')


def in_progress(arn: str) -> Refused:
    return invalid(f'Cannot update in-progress endpoint "{arn}".')
