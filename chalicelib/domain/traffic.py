"""What was seen of a deployment's traffic in a window of time: counts and a mergeable latency histogram."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# Upper edges in milliseconds, growing by a fifth: a quantile read from them is right to 20 %; the last bucket is open.
EDGES_MS: tuple[float, ...] = tuple(round(0.1 * 1.2**n, 4) for n in range(82))


@dataclass(frozen=True)
class Traffic:
    """Counts of one deployment in one window.

    `errors` had no answer or a status of 500 or above; `rejected` had a 4xx; `nonfinite` answers held a NaN or an
    infinity. `latencies[i]` counts requests that took at most EDGES_MS[i] (the last: longer than all edges).
    """

    requests: int = 0
    errors: int = 0
    rejected: int = 0
    nonfinite: int = 0
    latencies: Sequence[int] = field(default_factory=lambda: (0,) * (len(EDGES_MS) + 1))

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.requests + other.requests,
            self.errors + other.errors,
            self.rejected + other.rejected,
            self.nonfinite + other.nonfinite,
            tuple(a + b for a, b in zip(self.latencies, other.latencies, strict=True)),
        )

    @property
    def answered(self) -> int:
        """Requests that say something about the model: all but the caller's own mistakes (4xx)."""
        return self.requests - self.rejected

    def quantile_ms(self, q: float) -> float | None:
        """Return the q-quantile in ms, interpolated within its bucket; None without samples, inf past all edges."""
        total = sum(self.latencies)
        if not total:
            return None
        below = 0
        for at, count in enumerate(self.latencies):
            if count and below + count >= q * total:
                return _within(at, (q * total - below) / count)
            below += count
        return float("inf")

    def slower_than(self, ms: float) -> int:
        """Return how many requests took longer, counting only whole buckets above: a doubt is in favour."""
        return sum(self.latencies[bisect_left(EDGES_MS, ms) + 1 :])


_ERROR = 500
_REJECTED = 400


class Request(NamedTuple):
    """What one request adds to the counts. `latency` indexes `Traffic.latencies`; None adds to no bucket."""

    error: bool
    rejected: bool
    nonfinite: bool
    latency: int | None


def request(status: int, milliseconds: float, *, nonfinite: bool) -> Request:
    """Return how one request counts; a status of 502 or 504 stands for no answer.

    An error has no latency: failing fast is not being fast.
    """
    error = status >= _ERROR
    latency = None if error else bisect_left(EDGES_MS, milliseconds)
    return Request(error, _REJECTED <= status < _ERROR, nonfinite, latency)


def _within(at: int, part: float) -> float:
    """Return the latency at a fraction of a bucket; edges grow by a constant factor, so on a log scale."""
    if at >= len(EDGES_MS):
        return float("inf")
    low = EDGES_MS[at - 1] if at else EDGES_MS[0] / 2
    return float(low * (EDGES_MS[at] / low) ** max(0.0, part))
