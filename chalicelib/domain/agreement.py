"""Whether one answer of a model agrees with another, or with what was expected: the same values, or the same class."""

from collections.abc import Mapping, Sequence
from math import isclose, isfinite
from typing import Any, NamedTuple

_SCORES = ("scores", "probabilities", "logits")
_LABELS = ("label", "class", "predicted_label", "prediction")
_LONGEST = 80  # characters of a value that is shown
_EVEN = 0.5


class Tolerance(NamedTuple):
    """How far off a number may be; the larger of both holds."""

    relative: float = 0.0
    absolute: float = 0.0


# What another machine or library makes of the same float32 weights.
SAME = Tolerance(relative=1e-4, absolute=1e-6)


def difference(expected: Any, answer: Any, tolerance: Tolerance = SAME, where: str = "") -> str:
    """Return the first difference in words, "" when there is none: numbers within a tolerance, all else the same."""
    if _is_number(expected) and _is_number(answer):
        return _number_difference(expected, answer, tolerance, where)
    if isinstance(expected, Mapping) and isinstance(answer, Mapping):
        return _object_difference(expected, answer, tolerance, where)
    if _is_list(expected) and _is_list(answer):
        return _list_difference(expected, answer, tolerance, where)
    same = type(expected) is type(answer) and expected == answer
    return "" if same else f"{_at(where)}expected {_shown(expected)}, got {_shown(answer)}"


def top_labels(answer: Any, k: int = 1) -> tuple[str, ...]:
    """Return the `k` likeliest classes that an answer names, the likeliest first; none when it names no class.

    A list of numbers holds a score for each class by its index, an object of numbers by its name; one number is a
    label when it is whole, else the probability of class 1.
    """
    if isinstance(answer, Mapping):
        return _of_object(answer, k)
    if _is_list(answer):
        return _of_list(answer, k)
    if _is_number(answer) and not float(answer).is_integer():
        return _of_probability(answer, k)
    return () if answer is None else (label(answer),)


def label(value: Any) -> str:
    """Return how a class is called: 7, 7.0 and "7" are one."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if _is_number(value) and float(value).is_integer() else str(value)


def numbers(answer: Any) -> list[float]:
    """Return every finite number of an answer, in order."""
    if _is_number(answer):
        return [float(answer)]
    members = answer.values() if isinstance(answer, Mapping) else answer if _is_list(answer) else ()
    return [number for member in members for number in numbers(member)]


# --- the same values ---------------------------------------------------------------------------------------------
def _number_difference(expected: float, answer: float, tolerance: Tolerance, where: str) -> str:
    off = abs(answer - expected)
    allowed = max(tolerance.relative * abs(expected), tolerance.absolute)
    # Without the chance of binary fractions: 0.3 is off 0.2 by no more than 0.1.
    if off <= allowed or isclose(off, allowed, rel_tol=1e-9):
        return ""
    said = f"expected {_shown(expected)}, got {_shown(answer)}"
    return f"{_at(where)}{said} (off by {off:.3g}, allowed {allowed:.3g})"


def _object_difference(expected: Mapping[str, Any], answer: Mapping[str, Any], tolerance: Tolerance, where: str) -> str:
    if missing := sorted(expected.keys() - answer.keys()):
        return f"{_at(where)}{missing[0]!r} is missing"
    if more := sorted(answer.keys() - expected.keys()):
        return f"{_at(where)}{more[0]!r} wasn't expected"
    found = (difference(expected[name], answer[name], tolerance, f"{where}.{name}") for name in expected)
    return next(filter(None, found), "")


def _list_difference(expected: Sequence[Any], answer: Sequence[Any], tolerance: Tolerance, where: str) -> str:
    if len(expected) != len(answer):
        return f"{_at(where)}expected {len(expected)} values, got {len(answer)}"
    pairs = enumerate(zip(expected, answer, strict=True))
    found = (difference(wanted, given, tolerance, f"{where}[{at}]") for at, (wanted, given) in pairs)
    return next(filter(None, found), "")


def _at(where: str) -> str:
    return f"{where.removeprefix('.')}: " if where else ""


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


# --- the same class ----------------------------------------------------------------------------------------------
def _of_object(answer: Mapping[str, Any], k: int) -> tuple[str, ...]:
    for name in _LABELS:
        if name in answer and k == 1:
            return top_labels(answer[name])
    for name in _SCORES:
        if _is_list(answer.get(name)):
            return top_labels(answer[name], k)
    scores = {name: score for name, score in answer.items() if _is_number(score)}
    return tuple(sorted(scores, key=lambda name: -scores[name])[:k]) if len(scores) == len(answer) else ()


def _of_list(answer: Sequence[Any], k: int) -> tuple[str, ...]:
    if len(answer) == 1:
        only = answer[0]
        return _of_probability(only, k) if isinstance(only, float) and 0 <= only <= 1 else top_labels(only, k)
    if not all(_is_number(score) for score in answer):
        return ()
    order = sorted(range(len(answer)), key=lambda at: -answer[at])
    return tuple(str(at) for at in order[:k])


def _of_probability(value: float, k: int) -> tuple[str, ...]:
    if not 0 <= value <= 1:
        return ()
    return ("1", "0")[:k] if value > _EVEN else ("0", "1")[:k]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
