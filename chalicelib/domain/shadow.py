"""A shadow: copies of live requests that the canary answers to nobody, and how far it agrees with what was answered.

What a comparison says is counted as marks of the canary (see `marks`), so that it is judged like all else.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from math import isclose
from typing import Any

from chalicelib.domain.agreement import Tolerance, difference, label, numbers, top_labels
from chalicelib.domain.invocation import Call, Reply
from chalicelib.domain.predict_body import is_json
from chalicelib.domain.shift import outputs
from chalicelib.domain.structure import marks_of

COMPARED = "shadow compared"
AGREED = "shadow agreed"
DROPPED = "shadow dropped"  # for want of time or room
LARGE = "shadow large"  # not sampled for its size
LARGEST = 900_000  # bytes of a request with its answer
CLOSE = Tolerance(relative=0.01, absolute=1e-6)
_MOST_PAIRS = 32  # of one request
_OK = 200


class Agree(StrEnum):
    """What makes two answers agree."""

    AUTO = "auto"  # the class where answers name one or hold probabilities, else the values
    CLASS = "class"
    VALUES = "values"


@dataclass(frozen=True)
class Shadow:
    """What a rollout does first."""

    share: int = 10  # percent of the live requests
    time: timedelta = timedelta(minutes=10)
    min_requests: int = 100  # that the canary answered
    agree: Agree = Agree.AUTO
    top_k: int = 1  # among how many of the canary's classes the live answer's must be
    tolerance: float | None = None  # of values; None: 1 %
    keep_disagreements: bool = False


@dataclass(frozen=True)
class Shadowing:
    """What an endpoint's requests are copied to."""

    deployment: str
    rollout: str
    how: Shadow


@dataclass(frozen=True)
class Copy:
    """A live request, what its caller got, and who is asked the same. `id` is the request's: a repeat has the same."""

    id: str
    endpoint: str
    to: Shadowing
    call: Call
    live: Reply

    @property
    def is_large(self) -> bool:
        return len(self.call.body) + len(self.live.body) > LARGEST


@dataclass(frozen=True)
class Comparison:
    marks: Sequence[str]
    disagreement: str = ""  # the first one, in words


def compare(how: Shadow, live: Reply, shadow: Reply) -> Comparison:
    """Compare what a caller got with what the canary answers; nothing is compared unless both answered."""
    built = marks_of(shadow.status, shadow.content_type, shadow.body)
    if live.status != _OK or shadow.status != _OK:
        return Comparison(built)
    pairs = list(_pairs(live, shadow))
    differences = [_difference(how, ours, theirs) for ours, theirs in pairs]
    marks = [*built, *[COMPARED] * len(pairs), *[AGREED] * differences.count("")]
    marks += [mark for ours, theirs in pairs for mark in outputs(_kind(how, ours), ours, theirs)]
    return Comparison(marks, next(filter(None, differences), ""))


def _pairs(live: Reply, shadow: Reply) -> Iterator[tuple[Any, Any]]:
    """Yield the predictions of both, one by one; of answers with another number of them only that."""
    ours, theirs = _predictions(live), _predictions(shadow)
    if len(ours) == len(theirs):
        yield from zip(ours[:_MOST_PAIRS], theirs[:_MOST_PAIRS], strict=True)
    else:
        yield f"{len(ours)} predictions", f"{len(theirs)} predictions"


def _predictions(reply: Reply) -> list[Any]:
    if not is_json(reply.content_type):
        return [reply.body.decode(errors="replace")]
    try:
        document = json.loads(reply.body)
    except (UnicodeDecodeError, ValueError, RecursionError):
        return ["no JSON"]
    found = document.get("predictions") if isinstance(document, Mapping) else None
    return found if isinstance(found, list) else [document]


def _difference(how: Shadow, live: Any, shadow: Any) -> str:
    if _kind(how, live) is Agree.VALUES:
        tolerance = CLOSE if how.tolerance is None else Tolerance(absolute=how.tolerance)
        return difference(live, shadow, tolerance)
    labels = top_labels(shadow, how.top_k)
    wanted = (top_labels(live) or (label(live),))[0]
    return "" if wanted in labels else f"expected class {wanted}, got {', '.join(labels) or 'none'}"


def _kind(how: Shadow, live: Any) -> Agree:
    if how.agree is not Agree.AUTO:
        return how.agree
    return Agree.CLASS if _names_a_class(live) else Agree.VALUES


def _names_a_class(answer: Any) -> bool:
    """Tell labels, and probabilities of several classes, from other values."""
    if isinstance(answer, str | bool | int):
        return True
    scores = numbers(answer) if isinstance(answer, Mapping | list) else []
    if scores and len(scores) == len(answer):
        return len(scores) > 1 and isclose(sum(scores), 1, abs_tol=1e-3)
    return isinstance(answer, Mapping) and bool(top_labels(answer))
