"""The two errors that callers expect: final (say how to fix it) and not yet (say what is awaited)."""

from collections.abc import Sequence


class Rejected(Exception):
    """Final for this input: what was wrong, where, and what to do.

    `code` is stable and documented; an API answers with it, a report lists it.
    """

    def __init__(self, message: str, *, code: str = "rejected") -> None:
        super().__init__(message)
        self.code = code


class NotYet(Exception):
    """No failure: what is awaited may still come; look again after `retry_after` seconds."""

    def __init__(self, message: str, *, missing: Sequence[str] = (), retry_after: float = 60.0) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.retry_after = retry_after


class NotFound(Rejected):
    """No record has that name."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="not_found")


class Conflict(Exception):
    """A conditional write found another revision than it expected: gather again and decide anew."""


class Gone(Exception):
    """The very bytes that were listed are no longer there: list again."""
