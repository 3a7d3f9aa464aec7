"""What goes wrong with a request, as one value that becomes one JSON answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MESSAGE_LIMIT = 4000


class RequestError(Exception):
    """An answer that is not a prediction: status, a stable code, a sentence, and the field it is about."""

    def __init__(
        self, status: int, code: str, message: str, *, where: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.where = where
        self.retry_after = retry_after

    def as_json(self) -> dict[str, Any]:
        error = {"code": self.code, "message": self.message}
        return {"error": {**error, "where": self.where} if self.where else error}


def bad_request(code: str, message: str, where: str = "") -> RequestError:
    return RequestError(400, code, message, where=where)


def model_failed(error: BaseException, where: str = "") -> RequestError:
    """Answer with what the model raised; TorchServe's PredictionException chooses its own status."""
    if isinstance(error, RequestError):
        return error
    if type(error).__name__ == "PredictionException":
        message, status = str(getattr(error, "message", error)), int(getattr(error, "error_code", 500))
    else:
        message, status = f"{type(error).__name__}: {error}", 500
    return RequestError(status, "model_error", message[:MESSAGE_LIMIT], where=where)


class LoadError(Exception):
    """The model cannot be served, with what its owner can do about it."""


@contextmanager
def named(place: str) -> Iterator[None]:
    """Say of what goes wrong within, which request it was."""
    try:
        yield
    except RequestError as error:
        where = f" at {error.where}" if error.where else ""
        raise LoadError(f"{place}{where}: {error.message}") from error
    except Exception as error:
        error.add_note(place)
        raise
