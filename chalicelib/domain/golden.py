"""`golden.jsonl` of a version: requests with the answers that are right, or a metric over all of them.

A line is a request and what its answer must be; a line with a `metric` says how good they must be together. Lines
without either are asked, too: they must be answered. docs/predictions.md is the reference.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.errors import Rejected

FILE = "golden.jsonl"
WARMUP = "warmup.jsonl"  # the same lines, which are only asked
LARGEST = 8 * 2**20  # bytes
MOST_LINES = 10_000
AT_LEAST = ("accuracy", "f1")
AT_MOST = ("mae", "rmse")
_REQUESTS = ("instance", "instances", "request")
_SAID = {"expected", "tolerance", "class", "top_k"}
_BESIDE = {"parameters", "signature_name"}  # of a whole request


@dataclass(frozen=True)
class Line:
    """One request. `expected` and `label` hold when they aren't None; `is_instances` says which contract it speaks."""

    number: int
    body: Mapping[str, Any] | Any
    is_instances: bool
    is_one: bool  # of the instances: its answer is the first prediction
    expected: Any = None
    label: Any = None
    tolerance: float | None = None
    top_k: int = 1

    @property
    def is_checked(self) -> bool:
        return self.expected is not None or self.label is not None

    @property
    def wanted(self) -> Any:
        """What its answer must be, as values or as a class."""
        return self.expected if self.label is None else self.label


@dataclass(frozen=True)
class Metric:
    name: str
    limit: float

    @property
    def is_least(self) -> bool:
        """Tell whether more is better."""
        return self.name in AT_LEAST


@dataclass(frozen=True)
class Golden:
    lines: tuple[Line, ...]
    metrics: tuple[Metric, ...] = ()

    @property
    def measures_numbers(self) -> bool:
        return any(metric.name in AT_MOST for metric in self.metrics)

    @property
    def counts_classes(self) -> bool:
        return any(metric.name == "f1" for metric in self.metrics)


class Wrong(ValueError):
    """What is wrong with one line."""


def parse_golden(body: bytes) -> Golden:
    """Read a golden.jsonl; raises Rejected naming the line."""
    if len(body) > LARGEST:
        raise _rejected(f"it has {len(body)} bytes, more than {LARGEST}")
    lines: list[Line] = []
    metrics: list[Metric] = []
    for number, document in _documents(body):
        try:
            if metric := _metric(document):
                metrics.append(metric)
            elif line := _line(number, document):
                lines.append(line)
        except Wrong as wrong:
            raise _rejected(f"line {number}: {wrong}") from None
    return _whole(tuple(lines), tuple(metrics))


def _whole(lines: tuple[Line, ...], metrics: tuple[Metric, ...]) -> Golden:
    if len(lines) > MOST_LINES:
        raise _rejected(f"it has {len(lines)} requests, more than {MOST_LINES}")
    if metrics and not any(line.is_checked for line in lines):
        raise _rejected(f"it wants {metrics[0].name}, and no line says `expected` or `class`")
    return Golden(lines, metrics)


def _documents(body: bytes) -> Iterator[tuple[int, Any]]:
    for number, text in enumerate(body.split(b"\n"), 1):
        if text.strip():
            try:
                yield number, json.loads(text.decode(), parse_constant=_refuse)
            except (UnicodeDecodeError, ValueError, RecursionError) as error:
                raise _rejected(f"line {number}: it is no JSON: {error}") from None


def _refuse(name: str) -> None:
    raise Wrong(f"{name} is no JSON number")


def _metric(document: Any) -> Metric | None:
    """Return what a line wants of all others; None for a line that is a request."""
    if not (isinstance(document, dict) and list(document) == ["metric"] and isinstance(document["metric"], dict)):
        return None
    said = document["metric"]
    name = said.get("name")
    if name not in AT_LEAST + AT_MOST:
        raise Wrong(f"metric.name must be one of {', '.join(AT_LEAST + AT_MOST)}, not {str(name)[:80]!r}")
    bound = "at_least" if name in AT_LEAST else "at_most"
    if said.keys() != {"name", bound} or not _is_number(said[bound]):
        raise Wrong(f'a metric is {{"metric": {{"name": "{name}", "{bound}": NUMBER}}}}')
    return Metric(name, float(said[bound]))


def _line(number: int, document: Any) -> Line | None:
    """Return a line's request; None for one of another contract, which only warms up."""
    kinds = [name for name in _REQUESTS if isinstance(document, dict) and name in document]
    if not kinds:
        return _bare(number, document)
    if len(kinds) > 1:
        raise Wrong(f"it has {' and '.join(kinds)}; say one of them")
    [kind] = kinds
    beside = _BESIDE if kind == "instances" else set()
    if unknown := sorted(document.keys() - _SAID - {kind} - beside):
        raise Wrong(f"{unknown[0]!r} is unknown; allowed are {', '.join(sorted(_SAID | beside))} beside `{kind}`")
    expected = _expectation(document)
    match kind:
        case "instance":
            return Line(number, {"instances": [document[kind]]}, is_instances=True, is_one=True, **expected)
        case "instances":
            _check_instances(document, expected)
            body = {name: value for name, value in document.items() if name not in _SAID}
            return Line(number, body, is_instances=True, is_one=False, **expected)
    return Line(number, document[kind], is_instances=False, is_one=False, **expected)


def _bare(number: int, document: Any) -> Line | None:
    if isinstance(document, dict) and "inputs" in document:
        if document.keys() & {"expected", "class"}:
            raise Wrong("a request of Open Inference V2 only warms up; write it as instances to have it checked")
        return None
    if isinstance(document, dict) and document.keys() & {"expected", "class", "top_k"} and "instance" not in document:
        raise Wrong("it says what is expected, and of what: put the request under `instance`, `instances` or `request`")
    return Line(number, {"instances": [document]}, is_instances=True, is_one=True)


def _check_instances(document: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    instances = document["instances"]
    if not isinstance(instances, list) or not instances:
        raise Wrong("`instances` must be a list of at least one")
    for name in ("expected", "label"):
        wanted = expected.get(name)
        if wanted is not None and not (isinstance(wanted, list) and len(wanted) == len(instances)):
            said = "class" if name == "label" else name
            raise Wrong(f"`{said}` must be a list of {len(instances)}, one for each instance")


def _expectation(document: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if "expected" in document and "class" in document:
        raise Wrong("it has `expected` and `class`; say one of them")
    if "expected" in document:
        said["expected"] = document["expected"]
    if "class" in document:
        said["label"] = document["class"]
    if "tolerance" in document:
        said["tolerance"] = _tolerance(document)
    if "top_k" in document:
        said["top_k"] = _top_k(document)
    if any(value is None for value in said.values()):
        raise Wrong("null is no answer to expect")
    return said


def _tolerance(document: Mapping[str, Any]) -> float:
    if "expected" not in document or not _is_number(document["tolerance"]) or document["tolerance"] < 0:
        raise Wrong("`tolerance` is a number from 0 on, beside `expected`: how far off a number may be")
    return float(document["tolerance"])


def _top_k(document: Mapping[str, Any]) -> int:
    k = document["top_k"]
    if "class" not in document or type(k) is not int or k < 1:
        raise Wrong("`top_k` is a whole number from 1 on, beside `class`: among how many the class must be")
    return k


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rejected(what: str) -> Rejected:
    return Rejected(f"{FILE}: {what}", code="bad_golden")
