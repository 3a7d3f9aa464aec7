"""How much goes into one call of the model, and when it is made: decisions over values that were measured."""

from collections import deque
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

SHORT_S = 0.001
SHORT_CALLS = 16
TOLERATED = 8
LONG_S = 0.005
HELD_UP_S = 0.02
TRIED_S = 0.01
LEAST_PAUSE, MOST_PAUSE = 32, 4096
WAIT_SHARE = 0.05
GAIN = 1.05
RECENT_CALLS = 8
MOST_VAIN = 5
FORGET_CALLS = 512
ENOUGH_CALLS = 3
DECAY = 0.98
SMOOTHING = 0.25


class Counted(Protocol):
    @property
    def key(self) -> Hashable: ...
    @property
    def count(self) -> int: ...


class Queued(Protocol):
    @property
    def rows(self) -> Counted: ...


Q = TypeVar("Q", bound=Queued)


def next_batch(queue: deque[Q], max_rows: int) -> list[Q]:
    """Take the first job and those behind it that fit the same call; the others keep their order."""
    batch: list[Q] = []
    passed: list[Q] = []
    rows = 0
    key: Hashable = None
    while queue and rows < max_rows:
        job = queue.popleft()
        if batch and (job.rows.key != key or rows + job.rows.count > max_rows):
            passed.append(job)
            continue
        if not batch and queue:
            key = job.rows.key
        batch.append(job)
        rows += job.rows.count
    if passed:
        queue.extendleft(reversed(passed))
    return batch


@dataclass(frozen=True, slots=True)
class Turn:
    """What is known when the model is free: what waits, how many asked at once of late, and what a call takes."""

    requests: int
    rows: int
    expected: int
    limit: int
    call_s: float


def wait_s(turn: Turn, max_delay_s: float) -> float:
    """How long to leave a free model idle for rows that are about to come: a small share of a long call, or 0.

    Who asks again once answered comes a moment after its answer: without a wait two halves of the clients take turns.
    """
    if turn.call_s < LONG_S or turn.requests >= turn.expected or turn.rows >= turn.limit:
        return 0.0
    return min(WAIT_SHARE * turn.call_s, max_delay_s)


def batch_limit(throughput: Mapping[int, float], most: int) -> int:
    """Rows from which a larger call gains nothing: `throughput` is rows per second by the rows of a call.

    While the largest call that was seen is still the best, larger ones may be tried.
    """
    if not throughput:
        return most
    best = max(throughput.values())
    enough = min(size for size, rate in throughput.items() if rate * GAIN >= best)
    return most if enough == max(throughput) else min(enough, most)


def rows_each(rows: int, threads: int) -> int:
    """Rows that one of several model threads takes at most of all that are open, so that none stands idle."""
    return -(-rows // threads)


@dataclass(slots=True)
class Pace:
    """What the last calls were like; it says whether the next is made on the loop, how large it is, and when.

    Only a model that computes may be called on the loop: a stranger's handler may sleep or hang. A call on a thread
    seems longer than it is where the loop is busy, for it waits for the interpreter's lock at its end: so now and then
    one is tried on the loop, the more seldom the oftener that was in vain. `short_s` is what the loop may be held up
    for by a call: longer where there is no second core on which the loop could go on meanwhile.
    """

    may_be_short: bool
    most: int
    max_delay_s: float = float("inf")
    short_s: float = SHORT_S
    short_calls: int = 0
    call_s: float = 0.0
    _limit: int = 0
    _calls: int = 0
    _resting: int = 0
    _vain: int = 0
    _on_threads: int = 0
    _pause: int = LEAST_PAUSE
    _throughput: dict[int, float] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)
    _open: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT_CALLS))

    def note(self, rows: int, seconds: float, requests: int = 1, *, on_loop: bool = False) -> None:
        """Remember a call, and how many requests were open while it was made."""
        self._note_where(seconds, on_loop=on_loop)
        if seconds < self.short_s:
            self.short_calls = min(self.short_calls + 1, SHORT_CALLS + TOLERATED)
        else:
            # One call in many that a busy machine held up says nothing of the model; a really long one says all.
            self.short_calls = 0 if seconds > HELD_UP_S else max(0, self.short_calls - TOLERATED)
        if seconds < SHORT_S:
            self.call_s = seconds
            return
        self.call_s = smoothed(self.call_s, seconds) if self.call_s >= SHORT_S else seconds
        self._open.append(requests)
        self._calls = (self._calls + 1) % FORGET_CALLS
        if not self._calls:
            # What has changed since shows only where larger calls are tried again.
            self._throughput.clear()
            self._seen.clear()
        size = 1 << (rows - 1).bit_length()
        self._seen[size] = self._seen.get(size, 0) + 1
        # A busy machine makes calls slower, never faster: the best of late is what the model can do.
        self._throughput[size] = max(rows / seconds, DECAY * self._throughput.get(size, 0.0))
        known = {size: rate for size, rate in self._throughput.items() if self._seen[size] >= ENOUGH_CALLS}
        self._limit = batch_limit(known, self.most)

    def _note_where(self, seconds: float, *, on_loop: bool) -> None:
        """Count towards the next try on the loop, or learn from one."""
        self._on_threads = 0 if on_loop else self._on_threads + 1
        if on_loop and not self._has_been_short:
            self._pause = LEAST_PAUSE if seconds < self.short_s else min(2 * self._pause, MOST_PAUSE)
            self.short_calls = SHORT_CALLS - 1 if seconds < self.short_s else 0

    def ran_out_of_memory(self, rows: int) -> None:
        """Never again as many rows in one call."""
        self.most = max(1, min(self.most, rows // 2))

    def waited(self, *, gained: bool) -> None:
        """A wait that brought nothing isn't repeated for a while, and the longer the oftener that happens."""
        self._vain = 0 if gained else min(self._vain + 1, MOST_VAIN)
        self._resting = 2**self._vain if self._vain else 0

    @property
    def is_short(self) -> bool:
        """Whether the next call is made on the loop."""
        return self.may_be_short and (self._has_been_short or self._is_worth_a_try)

    @property
    def _has_been_short(self) -> bool:
        return self.short_calls >= SHORT_CALLS

    @property
    def _is_worth_a_try(self) -> bool:
        return self._on_threads >= self._pause and self.call_s < TRIED_S

    @property
    def is_long(self) -> bool:
        """Whether calls are worth a core each; shorter ones are better off together."""
        return self.call_s >= LONG_S

    @property
    def limit(self) -> int:
        """Rows of the next call; the limit is learned from calls long enough to be worth it."""
        return min(self._limit, self.most) if self._limit and self.call_s >= SHORT_S else self.most

    def wait_s(self, queue: Collection[Queued]) -> float:
        """How long the next call should wait for more than these."""
        if not self.is_long:
            return 0.0
        rows = sum(job.rows.count for job in queue)
        return wait_s(Turn(len(queue), rows, max(self._open, default=0), self.limit, self.call_s), self.max_delay_s)

    def has_patience(self) -> bool:
        """Say whether a wait may be tried, once a call."""
        if not self._resting:
            return True
        self._resting -= 1
        return False


def smoothed(old: float, new: float) -> float:
    return old + SMOOTHING * (new - old)
