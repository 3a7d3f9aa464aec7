"""What the process counts, as Prometheus text.

Counting is on the path of every request: it is adding to plain lists on the loop's thread, and whoever scrapes pays.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STAGES = ("read", "parse", "queue", "encode", "write")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """How many values were at most each bound; one thread adds to it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: each holds all that are below it."""
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class ServingMetrics:
    """Its own registry, so that a model which also uses prometheus_client cannot clash with ours."""

    def __init__(self) -> None:
        self.read, self.parse, self.queue, self.encode, self.write = (Histogram(SECONDS) for _ in STAGES)
        self.request = Histogram(SECONDS)
        self.call = Histogram(SECONDS)
        self.rows = Histogram(ROWS)
        self.statuses: dict[int, int] = {}
        self.nonfinite = 0
        self.loads = {"served": 0, "failed": 0}
        self.waiting = 0
        self.running = 0
        self.connections: Collection[object] = ()
        # What the served model's own code reports, where its contract has a way to.
        self.reported: Collector | None = None
        self._registry = CollectorRegistry()
        self._registry.register(_Families(self))

    def batch(self, rows: int, seconds: float) -> None:
        self.rows.add(rows)
        self.call.add(seconds)

    def queued(self, seconds: float) -> None:
        self.queue.add(seconds)

    def answered(self, status: int, seconds: float, nonfinite: int) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.nonfinite += nonfinite
        self.request.add(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Families(Collector):
    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        m = self._metrics
        yield _counter("modeldrop_requests", "Answered predict requests", "status", m.statuses.items())
        yield _histogram("modeldrop_request_seconds", "Predict request, once read, to answer", m.request)
        yield _histogram("modeldrop_model_seconds", "One call of the model", m.call)
        yield _histogram("modeldrop_batch_rows", "Rows in one call", m.rows)
        stages = HistogramMetricFamily("modeldrop_stage_seconds", "What a request spent where", labels=("stage",))
        for name, one in zip(STAGES, (m.read, m.parse, m.queue, m.encode, m.write), strict=True):
            stages.add_metric((name,), buckets=one.cumulated(), sum_value=one.total)
        yield stages
        yield CounterMetricFamily("modeldrop_nonfinite", "Numbers that were not finite", value=m.nonfinite)
        yield _counter("modeldrop_loads", "Versions loaded beside the first", "result", m.loads.items())
        yield GaugeMetricFamily("modeldrop_queue_requests", "Requests that wait for the model", value=m.waiting)
        yield GaugeMetricFamily("modeldrop_running_requests", "Requests in the model's call", value=m.running)
        yield GaugeMetricFamily("modeldrop_open_connections", "Connections", value=len(m.connections))
        if m.reported is not None:
            yield from m.reported.collect()


def _histogram(name: str, text: str, one: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=one.cumulated(), sum_value=one.total)


def _counter(name: str, text: str, label: str, values: Iterable[tuple[object, int]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in values:
        family.add_metric((str(value),), count)
    return family
