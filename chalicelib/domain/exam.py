"""The exam of a canary: its answers to `golden.jsonl` before any traffic, marked line by line.

It is kept in the rollout's record, so that a wake-up goes on where the last one stopped; each mark is a pure step.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import starmap
from math import sqrt
from typing import Any

from chalicelib.domain.agreement import SAME, Tolerance, difference, label, numbers, top_labels
from chalicelib.domain.golden import AT_MOST, Golden, Line, Metric
from chalicelib.domain.invocation import Reply
from chalicelib.domain.predict_body import is_json
from chalicelib.domain.structure import changed, marks_of, structures

_SHOWN = 5  # misses that are told
_OK = 200
_MOST_CLASSES = 1_000  # that are counted apart
_LONGEST = 200  # characters of an answer that is told


@dataclass(frozen=True)
class Exam:
    """How far it is. `right`, `wrong` and `missed` count answers by class, for f1; all other sums are over pairs."""

    asked: int = 0  # lines
    missed: int = 0
    misses: tuple[str, ...] = ()  # the first of them, in words
    pairs: int = 0  # of an expected and a given answer
    right_pairs: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    numbers: int = 0
    right: Mapping[str, int] = field(default_factory=dict)
    wrong: Mapping[str, int] = field(default_factory=dict)  # by the class that was given
    lost: Mapping[str, int] = field(default_factory=dict)  # by the class that was expected
    structures: Mapping[str, int] = field(default_factory=dict)  # of answers to lines that stable was asked, too
    stable_structures: Mapping[str, int] = field(default_factory=dict)
    is_done: bool = False
    failure: str = ""  # why it was failed
    result: str = ""  # in words, with its numbers
    metrics: Mapping[str, float] = field(default_factory=dict)


def marked(exam: Exam, golden: Golden, line: Line, reply: Reply | str) -> Exam:
    """Return the exam with one more line marked; a reply that is text says why there was none."""
    after = replace(exam, asked=exam.asked + 1)
    answer = reply if isinstance(reply, str) else _answer(line, reply)
    if isinstance(answer, str):
        return _miss(after, line, answer)
    [given] = answer
    if golden.metrics:
        return _paired(after, golden, line, given)
    found = _found(line, given)
    return _miss(after, line, found) if found else after


def compared(exam: Exam, canary: Reply, stable: Reply) -> Exam:
    """Return the exam with how both sides built their answers to one line."""
    ours, theirs = (marks_of(reply.status, reply.content_type, reply.body) for reply in (canary, stable))
    if not (ours and theirs):
        return exam
    return replace(
        exam,
        structures=_one_more(exam.structures, *ours),
        stable_structures=_one_more(exam.stable_structures, *theirs),
    )


def ended(exam: Exam, golden: Golden, *, max_structure_share: float = 0.0) -> Exam:
    """Return the exam with its result, once every line is marked."""
    new = changed(structures(exam.structures), structures(exam.stable_structures), max_structure_share)
    values = [(metric, _value(metric, exam)) for metric in golden.metrics]
    short = [_in_words(metric, value) for metric, value in values if not _holds(metric, value)]
    missed = [_counts(exam), *exam.misses] if exam.missed else []
    return replace(
        exam,
        is_done=True,
        metrics={metric.name: round(value, 6) for metric, value in values if value is not None},
        result="; ".join([*starmap(_in_words, values), _counts(exam)]),
        failure="; ".join([*short, *missed, *filter(None, [new])]),
    )


# --- one line ----------------------------------------------------------------------------------------------------
def _answer(line: Line, reply: Reply) -> tuple[Any] | str:
    """Return what was answered in a tuple, or why that is no answer."""
    if reply.status != _OK:
        return f"status {reply.status}: {reply.body[:_LONGEST].decode(errors='replace')}"
    if not is_json(reply.content_type):
        return (reply.body.decode(errors="replace"),)
    try:
        document = json.loads(reply.body)
    except (UnicodeDecodeError, ValueError, RecursionError):
        return "the answer says that it is JSON and isn't"
    if not line.is_checked and reply.attributes.get("nonfinite", "0") != "0":
        return f"{reply.attributes['nonfinite']} numbers of the answer are not finite"
    return _predictions(line, document)


def _predictions(line: Line, document: Any) -> tuple[Any] | str:
    if not line.is_instances:
        return (document,)
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list) or not predictions:
        return "the answer has no list of predictions"
    return (predictions[0] if line.is_one else predictions,)


def _found(line: Line, given: Any) -> str:
    """Return how an answer differs from what is expected, "" when it doesn't."""
    if line.label is None:
        tolerance = SAME if line.tolerance is None else Tolerance(absolute=line.tolerance)
        return difference(line.expected, given, tolerance) if line.is_checked else ""
    wanted, answers = ([line.label], [given]) if line.is_one or not line.is_instances else (line.label, given)
    if len(wanted) != len(answers):
        return f"expected {len(wanted)} predictions, got {len(answers)}"
    pairs = zip(wanted, answers, strict=True)
    return next(filter(None, (_class_difference(w, g, line.top_k) for w, g in pairs)), "")


def _class_difference(wanted: Any, given: Any, k: int) -> str:
    labels = top_labels(given, k)
    if label(wanted) in labels:
        return ""
    among = f"the {k} likeliest are {', '.join(labels)}" if k > 1 else f"got {labels[0]}" if labels else ""
    return f"expected class {label(wanted)}, {among or 'the answer names no class'}"


def _miss(exam: Exam, line: Line, why: str) -> Exam:
    told = exam.misses if len(exam.misses) >= _SHOWN else (*exam.misses, f"line {line.number}: {why[: 2 * _LONGEST]}")
    return replace(exam, missed=exam.missed + 1, misses=told)


# --- all of them together ----------------------------------------------------------------------------------------
def _paired(exam: Exam, golden: Golden, line: Line, given: Any) -> Exam:
    """Return the exam with what a line's answers add to the metrics."""
    pairs = list(_pairs(line, given)) if line.is_checked else []
    off_length = next((len(a) != len(b) for a, b in ((numbers(w), numbers(g)) for w, g in pairs)), False)
    if golden.measures_numbers and off_length:
        return _miss(exam, line, "the answer has another number of values than expected")
    for wanted, one in pairs:
        exam = _with_pair(exam, wanted, one, k=line.top_k, by_class=golden.counts_classes)
    return exam


def _pairs(line: Line, given: Any) -> Iterator[tuple[Any, Any]]:
    if line.is_one or not line.is_instances:
        yield line.wanted, given
    else:
        yield from zip(line.wanted, [*given, *[None] * len(line.wanted)], strict=False)


def _with_pair(exam: Exam, wanted: Any, given: Any, *, k: int, by_class: bool) -> Exam:
    labels = top_labels(given, k)
    of = (top_labels(wanted) or ("",))[0]
    is_right = of in labels
    offs = [b - a for a, b in zip(numbers(wanted), numbers(given), strict=False)]
    after = replace(
        exam,
        pairs=exam.pairs + 1,
        right_pairs=exam.right_pairs + is_right,
        absolute=exam.absolute + sum(map(abs, offs)),
        squared=exam.squared + sum(off * off for off in offs),
        numbers=exam.numbers + len(offs),
    )
    if not by_class:
        return after
    if is_right:
        return replace(after, right=_one_more(exam.right, of))
    return replace(after, wrong=_one_more(exam.wrong, (labels or ("",))[0]), lost=_one_more(exam.lost, of))


def _one_more(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    name = name if name in counts or len(counts) < _MOST_CLASSES else ""
    return {**counts, name: counts.get(name, 0) + 1}


def _value(metric: Metric, exam: Exam) -> float | None:
    """Return a metric over all pairs; None when there is nothing that it is over."""
    if not exam.pairs or (metric.name in AT_MOST and not exam.numbers):
        return None
    match metric.name:
        case "accuracy":
            return exam.right_pairs / exam.pairs
        case "f1":
            return _macro_f1(exam)
        case "mae":
            return exam.absolute / exam.numbers
    return sqrt(exam.squared / exam.numbers)


def _macro_f1(exam: Exam) -> float:
    """Return the mean of the classes' own f1, over every class that was expected or given."""
    classes = {*exam.right, *exam.wrong, *exam.lost}
    return sum(_f1(exam, each) for each in classes) / len(classes)


def _f1(exam: Exam, of: str) -> float:
    right = 2 * exam.right.get(of, 0)
    return right / (right + exam.wrong.get(of, 0) + exam.lost.get(of, 0))


def _holds(metric: Metric, value: float | None) -> bool:
    if value is None:
        return False
    return value >= metric.limit if metric.is_least else value <= metric.limit


def _in_words(metric: Metric, value: float | None) -> str:
    bound = "at least" if metric.is_least else "at most"
    said = "of nothing" if value is None else f"{value:.4g}"
    return f"{metric.name} {said}, {bound} {metric.limit:.4g} wanted"


def _counts(exam: Exam) -> str:
    return f"{exam.missed} of {exam.asked} lines missed" if exam.missed else f"{exam.asked} lines answered"
