"""What was seen of a deployment's traffic in a window of time: counts and a mergeable latency histogram."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import accumulate
from math import ceil
from typing import NamedTuple

# Upper edges in milliseconds, each fourth a fifth above the one before: a quantile that is read from them is right to
# 5 %. The last bucket is open.
PARTS = 4
EDGES_MS: tuple[float, ...] = tuple(round(0.1 * 1.2 ** (n / PARTS), 4) for n in range(81 * PARTS + 1))


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
    marks: Mapping[str, int] = field(default_factory=dict)  # what else was counted, by name: see `structure`

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.requests + other.requests,
            self.errors + other.errors,
            self.rejected + other.rejected,
            self.nonfinite + other.nonfinite,
            tuple(a + b for a, b in zip(self.latencies, other.latencies, strict=True)),
            {name: self.marks.get(name, 0) + other.marks.get(name, 0) for name in {**self.marks, **other.marks}},
        )

    @property
    def answered(self) -> int:
        """Requests that say something about the model: all but the caller's own mistakes (4xx)."""
        return self.requests - self.rejected

    @cached_property
    def _up_to(self) -> Sequence[int]:
        """How many took at most each edge."""
        return tuple(accumulate(self.latencies))

    @cached_property
    def timed(self) -> int:
        """Requests that have a latency: all but errors."""
        return self._up_to[-1]

    def bucket_of(self, q: float) -> int:
        """Return the index of the bucket that holds the q-quantile of at least one request."""
        return bisect_left(self._up_to, max(1, ceil(q * self.timed - 1e-9)))

    def quantile_ms(self, q: float) -> float | None:
        """Return the q-quantile in ms, interpolated within its bucket; None without samples, inf past all edges."""
        if not self.timed:
            return None
        at = self.bucket_of(q)
        below = self.timed_below(at)
        return _within(at, (q * self.timed - below) / (self._up_to[at] - below))

    def timed_below(self, at: int) -> int:
        """Return how many requests stand in the buckets before this one."""
        return self._up_to[at - 1] if at else 0

    def slower_than(self, ms: float) -> int:
        """Return how many requests took longer, counting only whole buckets above: a doubt is in favour."""
        return self.timed - self._up_to[bisect_left(EDGES_MS, ms)]


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


_SPANS = (60.0, 300.0, 1800.0)  # seconds
_ENOUGH = 20  # requests in a span


def rate_of_late(counted: Sequence[tuple[float, int]]) -> float:
    """Return requests a second, from (age in seconds, requests): over the shortest span that has enough of them."""
    for span in _SPANS:
        total = sum(requests for age, requests in counted if age < span)
        if total >= _ENOUGH or span == _SPANS[-1]:
            break
    return total / span


LATE = timedelta(seconds=_SPANS[-1])  # what is older says nothing of the rate


def _within(at: int, part: float) -> float:
    """Return the latency at a fraction of a bucket; edges grow by a constant factor, so on a log scale."""
    if at >= len(EDGES_MS):
        return float("inf")
    low = EDGES_MS[at - 1] if at else EDGES_MS[0] / 2
    return float(low * (EDGES_MS[at] / low) ** max(0.0, part))
