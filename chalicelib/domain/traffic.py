"""What was seen of a deployment's traffic in a window of time: counts and a mergeable latency histogram."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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

    def quantile_ms(self, q: float) -> float | None:
        """Return the upper edge of the bucket that holds the q-quantile, in ms; None without samples."""
        total = sum(self.latencies)
        seen = 0
        for edge, count in zip((*EDGES_MS, float("inf")), self.latencies, strict=True):
            seen += count
            if total and seen >= q * total:
                return edge
        return None
