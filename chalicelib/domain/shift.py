"""Whether a model's outputs are distributed otherwise: the population stability index of counted outputs.

Outputs are counted as they come, classes by name and numbers in bins of a fifth of an octave or so; both sides' counts
are laid into at most ten groups only when they are judged.
"""

from collections.abc import Iterator, Mapping
from math import floor, log, log2, sqrt
from typing import Any

from chalicelib.domain.agreement import numbers, top_labels

BEFORE, AFTER = "was", "is"  # what callers got, and what the canary answers
_CLASS, _BIN = "class", "bin"
_PER_OCTAVE = 4
_FARTHEST = 120  # bins from one, either way
_SMALL = 1e-9
_GROUPS = 10
_LONGEST = 60  # characters of a class's name
_ALMOST_SURE = 3.09  # standard deviations: 999 of 1,000


def outputs(kind: str, before: Any, after: Any) -> Iterator[str]:
    """Yield the marks of one output on either side; of what is neither a class nor numbers there are none."""
    for side, answer in ((BEFORE, before), (AFTER, after)):
        if name := _class_of(answer) if kind == "class" else _bin_of(answer):
            yield f"{side} {name}"


def psi(marks: Mapping[str, int]) -> tuple[float, float, int]:
    """Return the index, how much of it may be chance, and how many outputs it is over."""
    before, after = _side(marks, BEFORE), _side(marks, AFTER)
    groups = list(_groups(before, after))
    one, other = sum(a for a, _ in groups), sum(b for _, b in groups)
    if not one or not other or len(groups) < 2:  # noqa: PLR2004 - one group is the same on both sides
        return 0.0, 0.0, min(one, other)
    shares = [(_share(a, one, len(groups)), _share(b, other, len(groups))) for a, b in groups]
    index = sum((b - a) * log(b / a) for a, b in shares)
    return index, _chi_square(len(groups) - 1) * (1 / one + 1 / other), min(one, other)


# --- counting ----------------------------------------------------------------------------------------------------
def _class_of(answer: Any) -> str:
    labels = top_labels(answer)
    return f"{_CLASS} {labels[0][:_LONGEST]}" if labels else ""


def _bin_of(answer: Any) -> str:
    found = numbers(answer)
    return f"{_BIN} {_bin(sum(found) / len(found))}" if found else ""


def _bin(value: float) -> int:
    """Return a whole number that grows with the value: 0 around zero, the farther from it the larger the value."""
    if abs(value) < _SMALL:
        return 0
    far = max(-_FARTHEST, min(_FARTHEST, floor(log2(abs(value)) * _PER_OCTAVE)))
    away = far + _FARTHEST + 1
    return away if value > 0 else -away


# --- judging -----------------------------------------------------------------------------------------------------
def _side(marks: Mapping[str, int], side: str) -> dict[str, int]:
    return {name.removeprefix(f"{side} "): n for name, n in marks.items() if name.startswith(f"{side} ")}


def _groups(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """Yield both sides' counts in groups with a tenth of the outputs or more each, the last one perhaps less."""
    names = sorted({*before, *after}, key=_order)
    least = (sum(before.values()) + sum(after.values())) / _GROUPS
    held = (0, 0)
    for name in names:
        held = (held[0] + before.get(name, 0), held[1] + after.get(name, 0))
        if sum(held) >= least:
            yield held
            held = (0, 0)
    if sum(held):
        yield held


def _order(name: str) -> tuple[int, str]:
    kind, _, value = name.partition(" ")
    return (int(value), "") if kind == _BIN else (0, name)


def _share(count: int, total: int, groups: int) -> float:
    """Return a share that isn't zero: half an output more in each group."""
    return (count + 0.5) / (total + 0.5 * groups)


def _chi_square(freedom: int) -> float:
    """Return what a chi-square of so many degrees stays below almost surely (Wilson and Hilferty)."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + _ALMOST_SURE * sqrt(part)) ** 3)
