"""What the process counts, as Prometheus text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ServingMetrics:
    """Its own registry, so that a model which also uses prometheus_client cannot clash with ours."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter("modeldrop_requests", "Answered predict requests", ("status",), registry=self.registry)
        self._seconds = Histogram(
            "modeldrop_request_seconds", "Predict request to answer", buckets=SECONDS, registry=self.registry
        )
        self._call_seconds = Histogram(
            "modeldrop_model_seconds", "One call of the model", buckets=SECONDS, registry=self.registry
        )
        self._rows = Histogram("modeldrop_batch_rows", "Rows in one call", buckets=ROWS, registry=self.registry)
        self._nonfinite = Counter("modeldrop_nonfinite", "Numbers that were not finite", registry=self.registry)
        self.queue = Gauge("modeldrop_queue_requests", "Requests that wait for the model", registry=self.registry)
        self.running = Gauge("modeldrop_running_requests", "Requests in the model's call", registry=self.registry)

    def batch(self, rows: int, seconds: float) -> None:
        self._rows.observe(rows)
        self._call_seconds.observe(seconds)

    def answered(self, status: int, seconds: float, nonfinite: int) -> None:
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)
        if nonfinite:
            self._nonfinite.inc(nonfinite)

    def text(self) -> bytes:
        return generate_latest(self.registry)
