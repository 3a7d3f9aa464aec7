"""What handlers report by `context.metrics`, with TorchServe's names: counted and kept for `/metrics`."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
UNITS = {"ms": "Milliseconds", "s": "Seconds", "percent": "Percent", "B": "Bytes", "kB": "Kilobytes"}
UNITS |= {"MB": "Megabytes", "GB": "Gigabytes", "count": "Count"}
# What labels a series is the handler's choice; a request's id among them must not fill the memory.
MAX_SERIES = 1000
_NAME = re.compile(r"[^a-zA-Z0-9_]")


class Dimension(Protocol):
    """TorchServe's pair of a label's name and its value."""

    @property
    def name(self) -> Any: ...
    @property
    def value(self) -> Any: ...


@dataclass(slots=True)
class Series:
    """One name with one set of labels: a counter's total, a gauge's last value, a histogram's sum and count."""

    kind: str
    name: str
    unit: str
    labels: tuple[tuple[str, str], ...]
    value: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.value = value if self.kind == GAUGE else self.value + value
        self.count += 1

    def samples(self) -> list[tuple[str, float]]:
        if self.kind == HISTOGRAM:
            return [("_count", self.count), ("_sum", self.value)]
        return [("_total" if self.kind == COUNTER else "", self.value)]


class Metric:
    """One that a handler has declared, with the names of its labels."""

    def __init__(self, metrics: "Metrics", name: str, unit: str, names: Sequence[str], kind: str) -> None:
        self._metrics = metrics
        self._name, self._unit, self._names, self._kind = name, unit, tuple(names), kind

    def add_or_update(self, value: float, dimension_values: Sequence[Any] = (), request_id: str = "") -> None:
        """Add to a counter or histogram, or set a gauge; raise where a label has no value."""
        del request_id
        if len(dimension_values) != len(self._names):
            raise ValueError(f"metric {self._name} has the dimensions {self._names}, not {len(dimension_values)}")
        labels = zip(self._names, map(str, dimension_values), strict=True)
        self._metrics.record(self._kind, self._name, value, self._unit, tuple(labels))

    def update(self, value: float, request_id: str = "", dimensions: Iterable[Dimension] = ()) -> None:
        del request_id
        self._metrics.record(self._kind, self._name, value, self._unit, _labels(dimensions))


class Metrics(Collector):
    """Written on the model's thread and read by the loop: a series, once there, stays where it is."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], Series] = {}
        self._declared: dict[tuple[str, str], Metric] = {}

    def collect(self) -> Iterator[Family]:
        """All series as Prometheus has them, those of one name and kind together."""
        families: dict[tuple[str, str], Family] = {}
        for series in list(self._series.values()):
            name = prometheus_name(series.name)
            kind = "summary" if series.kind == HISTOGRAM else series.kind
            family = families.setdefault((name, kind), Family(name, f"Reported by the handler ({series.unit})", kind))
            for suffix, value in series.samples():
                family.add_sample(name + suffix, {_NAME.sub("_", n): v for n, v in series.labels}, value)
        yield from families.values()

    def record(self, kind: str, name: str, value: float, unit: str, labels: tuple[tuple[str, str], ...]) -> None:
        """Count a value; what comes after too many series is left out, and told from none by its name."""
        key = (name, labels)
        if key not in self._series and len(self._series) >= MAX_SERIES:
            key, kind, unit, labels, value = ("series_left_out", ()), COUNTER, "Count", (), 1.0
            name = key[0]
        self._series.setdefault(key, Series(kind, name, unit, labels)).add(float(value))

    def add_metric_to_cache(
        self, metric_name: str, unit: str, dimension_names: Sequence[str] = (), metric_type: Any = COUNTER
    ) -> Metric:
        metric = Metric(self, metric_name, UNITS.get(unit, unit), dimension_names, _kind(metric_type))
        return self._declared.setdefault((metric_name, _kind(metric_type)), metric)

    def get_metric(self, metric_name: str, metric_type: Any = COUNTER) -> Metric:
        """Return a declared metric; raise KeyError where there is none."""
        return self._declared[metric_name, _kind(metric_type)]

    def add_metric(  # noqa: PLR0917 - TorchServe's signature, which handlers call by position
        self,
        name: str,
        value: float,
        unit: str = "",
        idx: Any = None,
        dimensions: Iterable[Dimension] = (),
        metric_type: Any = COUNTER,
    ) -> None:
        del idx
        self.record(_kind(metric_type), name, value, UNITS.get(unit, unit), _labels(dimensions))

    def add_counter(self, name: str, value: float, idx: Any = None, dimensions: Iterable[Dimension] = ()) -> None:
        self.add_metric(name, value, "count", idx, dimensions)

    def add_error(self, name: str, value: float, dimensions: Iterable[Dimension] = ()) -> None:
        self.add_metric(name, value, "count", None, dimensions)

    def add_time(  # noqa: PLR0917 - as above
        self,
        name: str,
        value: float,
        idx: Any = None,
        unit: str = "ms",
        dimensions: Iterable[Dimension] = (),
        metric_type: Any = GAUGE,
    ) -> None:
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_size(  # noqa: PLR0917 - as above
        self,
        name: str,
        value: float,
        idx: Any = None,
        unit: str = "MB",
        dimensions: Iterable[Dimension] = (),
        metric_type: Any = GAUGE,
    ) -> None:
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_percent(
        self,
        name: str,
        value: float,
        idx: Any = None,
        dimensions: Iterable[Dimension] = (),
        metric_type: Any = GAUGE,
    ) -> None:
        self.add_metric(name, value, "percent", idx, dimensions, metric_type)


def prometheus_name(name: str) -> str:
    """Say a handler's name as Prometheus allows it; what begins with our prefix is not taken for ours."""
    plain = _NAME.sub("_", name).removesuffix("_total")
    return f"handler_{plain}" if not plain[:1].isalpha() or plain.startswith("modeldrop_") else plain


def _labels(dimensions: Iterable[Dimension]) -> tuple[tuple[str, str], ...]:
    return tuple((str(d.name), str(d.value)) for d in dimensions)


def _kind(metric_type: Any) -> str:
    """TorchServe's enumeration says it by its value, a plain text is taken as it is."""
    return str(getattr(metric_type, "value", metric_type)).lower()
