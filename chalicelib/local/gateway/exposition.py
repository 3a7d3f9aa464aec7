"""The totals in Prometheus' text format."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from chalicelib.domain.traffic import EDGES_MS, PARTS, Traffic

_EVERY = 4 * PARTS  # of the latency edges is shown: a bucket each doubling
_LABELS = ("endpoint", "deployment")
_COUNTS = {
    "requests": "Requests that a deployment had.",
    "errors": "Requests without an answer or with a status of 500 or above.",
    "rejected": "Requests that a deployment answered with a 4xx.",
    "nonfinite": "Answers that held a NaN or an infinity.",
}

Totals = Mapping[tuple[str, str], tuple[Traffic, float]]


def exposition_of(totals: Totals) -> bytes:
    """Return the text that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(_Collector(totals))
    return generate_latest(registry)


class _Collector:
    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        for name, text in _COUNTS.items():
            family = CounterMetricFamily(f"modeldrop_{name}", text, labels=_LABELS)
            for labels, (traffic, _) in self._totals.items():
                family.add_metric(labels, getattr(traffic, name))
            yield family
        latency = HistogramMetricFamily(
            "modeldrop_latency_seconds", "Time of a deployment to answer, errors left out.", labels=_LABELS
        )
        for labels, (traffic, milliseconds) in self._totals.items():
            latency.add_metric(labels, _buckets(traffic), milliseconds / 1000)
        yield latency


def _buckets(traffic: Traffic) -> list[tuple[str, float]]:
    """Return cumulative counts by upper edge in seconds."""
    seen = 0
    buckets: list[tuple[str, float]] = []
    for index, (edge, count) in enumerate(zip(EDGES_MS, traffic.latencies, strict=False)):
        seen += count
        if index % _EVERY == _EVERY - PARTS:
            buckets.append((str(edge / 1000), seen))
    return [*buckets, ("+Inf", sum(traffic.latencies))]
