"""One call of a deployment through a cloud: what it gets, what comes back, and the ways in which nothing does."""

from collections.abc import Mapping
from dataclasses import dataclass

BUDGET = 25.0  # seconds for one try
BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Call:
    """What a deployment gets."""

    body: bytes
    content_type: str
    accept: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """What a deployment answered, errors of the model included."""

    status: int
    body: bytes
    content_type: str
    attributes: Mapping[str, str]


class Unanswered(Exception):
    """No prediction, whatever was asked: `code` is stable; come again in `retry_after` seconds (0: that is no use)."""

    code = "unanswered"
    retry_after = 0.0


class NoAnswer(Unanswered):
    """The deployment gave no answer: it isn't there, or its process ended."""

    code = "no_answer"
    retry_after = 1.0


class TimedOut(NoAnswer):
    """It didn't answer in time."""

    code = "timed_out"
    retry_after = 0.0


class TooLarge(NoAnswer):
    """What it answered can't be passed on."""

    code = "answer_too_large"
    retry_after = 0.0


class Busy(Unanswered):
    """The cloud takes no more calls for now; that says nothing about the deployment."""

    code = "busy"
    retry_after = 1.0
