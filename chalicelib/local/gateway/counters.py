"""What the gateway counts: short slices for the judge, totals for Prometheus, and a call when trouble shows."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.domain.marks import kept_name
from chalicelib.domain.traffic import EDGES_MS, LATE, Request, Traffic, rate_of_late, request

SLICE = 0.1  # seconds
KEPT = 86_400.0  # seconds, where requests are few
MOST = 18_000  # slices, each with a request: half an hour where they never stop
IDLE = 1800.0  # seconds


@dataclass(slots=True)
class Tally:
    """Counts of one deployment in one slice, or in all."""

    slice: int = 0  # number of the slice since the epoch
    requests: int = 0
    errors: int = 0
    rejected: int = 0
    nonfinite: int = 0
    milliseconds: float = 0.0
    latencies: Counter[int] = field(default_factory=Counter)  # by index into EDGES_MS
    marks: Counter[str] | None = None  # most slices have none

    def add(self, counts: Request, milliseconds: float) -> None:
        self.requests += 1
        self.errors += counts.error
        self.rejected += counts.rejected
        self.nonfinite += counts.nonfinite
        if counts.latency is not None:
            self.milliseconds += milliseconds
            self.latencies[counts.latency] += 1


class Counters:
    """Counts by deployment; written by the gateway's loop, read by any thread. Implements the Metrics port."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._rings: dict[str, deque[Tally]] = {}
        self._totals: dict[tuple[str, str], Tally] = {}
        self._names: dict[str, set[str]] = {}  # of marks

    def count(
        self,
        endpoint: str,
        deployment: str,
        status: int,
        milliseconds: float,
        *,
        nonfinite: bool,
        judged: bool = True,
    ) -> None:
        """Add one request that a deployment had; `status` 502 or 504 stands for no answer.

        One that isn't `judged` is in the totals only.
        """
        number = int(self._now() / SLICE)
        counts = request(status, milliseconds, nonfinite=nonfinite)
        with self._lock:
            if judged:
                self._slice_of(deployment, number).add(counts, milliseconds)
            total = self._totals.get((endpoint, deployment))
            if total is None:
                total = self._totals[endpoint, deployment] = Tally()
            total.add(counts, milliseconds)

    def count_copy(self, deployment_id: str, *, status: int, milliseconds: float, nonfinite: bool) -> None:
        """Add one copied request: the judge sees it, and it is no request of the traffic."""
        number = int(self._now() / SLICE)
        with self._lock:
            self._slice_of(deployment_id, number).add(request(status, milliseconds, nonfinite=nonfinite), milliseconds)

    def mark(self, deployment_id: str, names: Iterable[str]) -> None:
        """Count what was seen of a deployment's answers, by name."""
        number = int(self._now() / SLICE)
        with self._lock:
            known = self._names.setdefault(deployment_id, set())
            tally = self._slice_of(deployment_id, number)
            for name in names:
                named = kept_name(name, known)
                known.add(named)
                tally.marks = tally.marks or Counter()
                tally.marks[named] += 1

    def _slice_of(self, deployment: str, number: int) -> Tally:
        """Return the tally of a deployment's present slice."""
        ring = self._rings.get(deployment)
        if ring is None:
            ring = self._rings[deployment] = deque(maxlen=MOST)
        if not ring or ring[-1].slice < number:
            ring.append(Tally(number))
            while ring[0].slice < number - KEPT / SLICE:
                ring.popleft()
        return ring[-1]

    def traffic(self, deployment_id: str, since: datetime) -> Traffic:
        """Return what was counted for a deployment since then, to a tenth of a second.

        It goes back for half an hour at least and for a day where requests are few: there each one is evidence.
        """
        first = int(since.timestamp() / SLICE)
        latencies = [0] * (len(EDGES_MS) + 1)
        sums = [0, 0, 0, 0]
        marks: Counter[str] = Counter()
        with self._lock:
            for tally in _since(self._rings.get(deployment_id, deque()), first):
                for index, count in enumerate((tally.requests, tally.errors, tally.rejected, tally.nonfinite)):
                    sums[index] += count
                for index, count in tally.latencies.items():
                    latencies[index] += count
                marks.update(tally.marks or {})
        return Traffic(sums[0], sums[1], sums[2], sums[3], tuple(latencies), dict(marks))

    def rate(self, deployment_id: str) -> float:
        """Return the requests a second that a deployment had of late."""
        now = self._now()
        first = int((now - LATE.total_seconds()) / SLICE)
        with self._lock:
            ring = self._rings.get(deployment_id, deque())
            counted = [(now - tally.slice * SLICE, tally.requests) for tally in _since(ring, first)]
        return rate_of_late(counted)

    def totals(self) -> dict[tuple[str, str], tuple[Traffic, float]]:
        """Return all that was counted, and the latencies' sum in milliseconds, by (endpoint, deployment)."""
        with self._lock:
            return {key: (_traffic(tally), tally.milliseconds) for key, tally in self._totals.items()}

    def forget(self, kept: frozenset[str]) -> None:
        """Drop what was counted for deployments that are not among `kept` and had no request for half an hour."""
        horizon = int((self._now() - IDLE) / SLICE)
        with self._lock:
            old = {id_ for id_, ring in self._rings.items() if id_ not in kept and ring[-1].slice < horizon}
            self._rings = {id_: ring for id_, ring in self._rings.items() if id_ not in old}
            known = kept | self._rings.keys()
            self._names = {id_: names for id_, names in self._names.items() if id_ in known}
            self._totals = {key: tally for key, tally in self._totals.items() if key[1] in known}


class Throttle:
    """Calls `act` at once for the first of many reports and once more after the last, at most one per `pause`."""

    def __init__(self, act: Callable[[str, str], None], pause: float, later: Callable[..., object]) -> None:
        self._act = act
        self._pause = pause
        self._later = later  # call_later of a loop
        self._pending: dict[tuple[str, str], bool] = {}  # by subject: was it reported again in the pause?

    def __call__(self, endpoint: str, deployment: str) -> None:
        subject = (endpoint, deployment)
        if subject in self._pending:
            self._pending[subject] = True
        else:
            self._pending[subject] = False
            self._later(self._pause, self._end_pause, subject)
            self._act(endpoint, deployment)

    def _end_pause(self, subject: tuple[str, str]) -> None:
        if self._pending.pop(subject):
            self(*subject)


def _since(ring: deque[Tally], first: int) -> Iterator[Tally]:
    for tally in reversed(ring):
        if tally.slice < first:
            return
        yield tally


def _traffic(tally: Tally) -> Traffic:
    latencies = tuple(tally.latencies[index] for index in range(len(EDGES_MS) + 1))
    return Traffic(tally.requests, tally.errors, tally.rejected, tally.nonfinite, latencies)
