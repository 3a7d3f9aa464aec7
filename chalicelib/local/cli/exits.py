"""How a command ends: a status that scripts can rely on, and one line that says why."""

from enum import IntEnum


class Status(IntEnum):
    OK = 0
    NO = 1  # the platform or the validation said no
    USAGE = 2
    NOT_YET = 3  # incomplete, or it took too long
    UNREACHABLE = 4


class Ended(Exception):
    """The command can't do what was asked for: one line on stderr, and a status."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
