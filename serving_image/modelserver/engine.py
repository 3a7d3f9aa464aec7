"""The queue before the model: what is queued the moment the model is free becomes the next batch.

An idle model starts at once and a busy one finds the next batch grown meanwhile; only where calls are long is a moment
waited for (batching.py decides). Long calls of a model that only computes are made on several threads beside each
other, a core each. Everything here runs on the event loop's thread except the calls into the model.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from modelserver.batching import Pace, next_batch, rows_each
from modelserver.errors import RequestError
from modelserver.outcomes import Outcome, Predict, predict_each
from modelserver.rows import Prediction, Rows


class BatchObserver(Protocol):
    def batch(self, rows: int, seconds: float) -> None: ...
    def queued(self, seconds: float) -> None: ...


@dataclass(slots=True, eq=False)
class Job:
    """One request's rows on their way; `done` is called once, on the loop, unless it was cancelled."""

    rows: Rows
    done: Callable[[Outcome], None]
    since: float = 0.0
    is_running: bool = False
    is_settled: bool = False


class ModelThread:
    """A thread on which a model is called; handlers and CUDA contexts expect the one on which they were loaded."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name="model", daemon=True).start()

    def submit(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def stop(self) -> None:
        """End after what was submitted."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # it may hold a model that is to be dropped


class Engine:
    def __init__(
        self,
        predict: Predict,
        threads: Sequence[ModelThread],
        *,
        max_queue: int,
        timeout_s: float,
        observer: BatchObserver,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._predict = predict
        self._threads = threads
        self._free = list(threads)
        self._max_queue = max_queue
        self._timeout_s = timeout_s
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Job] = deque()
        # In the order of their deadlines, since all have the same time: one timer serves them all.
        self._open: dict[Job, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        # Whether a call is about to be made: scheduled, or waiting a moment for more.
        self._is_due = False
        self._waiter: asyncio.TimerHandle | None = None
        self._waiting_with = 0
        self._retired: Callable[[], None] | None = None
        self.running = 0
        self._running_rows = 0
        # A request that was answered, to warm up the next version with.
        self.answered: Rows | None = None

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def submit(self, job: Job) -> None:
        """Queue a job; raise 503 where the queue is full."""
        if len(self._queue) >= self._max_queue:
            raise RequestError(503, "overloaded", f"{self._max_queue} requests are waiting already", retry_after=1)
        job.since = time.perf_counter()
        self._open[job] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._timeout_s, self._sweep)
        self._queue.append(job)
        if not self._is_due and self._has_room():
            # Not at once: requests that arrived in the same turn of the loop join this batch.
            self._be_due()
        elif self._waiter is not None and not self._pace.wait_s(self._queue):
            self._stop_waiting()

    def _has_room(self) -> bool:
        """Say whether another call may be made now."""
        return not self.running or (bool(self._free) and self._pace.is_long)

    def _be_due(self) -> None:
        self._is_due = True
        self._loop.call_soon(self._start_next)

    def cancel(self, job: Job) -> None:
        """Forget a job whose client has gone; what is running already runs on unheard."""
        if not job.is_settled:
            self._close(job)
            self._unqueue(job)

    def retire(self, done: Callable[[], None]) -> None:
        """Answer what is open, then end the model's threads and say so once."""
        self._retired = done
        self._end_if_retired()

    def _end_if_retired(self) -> None:
        if self._retired is not None and not self._is_due and not self.running:
            done, self._retired = self._retired, None
            for thread in self._threads:
                thread.stop()
            if self._sweeper is not None:
                self._sweeper.cancel()
            done()

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if not job.is_settled:
            self._close(job)
            job.done(outcome)

    def _close(self, job: Job) -> None:
        job.is_settled = True
        del self._open[job]

    def _unqueue(self, job: Job) -> None:
        if not job.is_running and job in self._queue:
            self._queue.remove(job)

    def _sweep(self) -> None:
        """Give up what is past its time, and come again when the next one is."""
        self._sweeper = None
        due = time.perf_counter() - self._timeout_s
        for job in list(self._open):
            if job.since > due:
                # A timer's millisecond may come too soon.
                self._sweeper = self._loop.call_later(max(job.since - due, 0.001), self._sweep)
                break
            self._expire(job)

    def _expire(self, job: Job) -> None:
        self._unqueue(job)
        if job.is_running:
            self._settle(job, RequestError(504, "prediction_timeout", f"no prediction within {self._timeout_s:g} s"))
        else:
            message = f"waited {self._timeout_s:g} s for the model without a turn"
            self._settle(job, RequestError(503, "queue_timeout", message, retry_after=1))

    def _start_next(self) -> None:
        """The model is free: start a call, or wait a moment for more."""
        wait_s = self._pace.wait_s(self._queue) if self._queue else 0.0
        if wait_s and self._pace.has_patience():
            self._is_due = True
            self._waiting_with = len(self._queue)
            self._waiter = self._loop.call_later(wait_s, self._stop_waiting)
        else:
            self._start()

    def _stop_waiting(self) -> None:
        if self._waiter is not None:
            self._waiter.cancel()
            self._waiter = None
            self._pace.waited(gained=self._start() > self._waiting_with)

    def _start(self) -> int:
        """Call the model with what is queued; return with how many requests."""
        self._is_due = False
        batch = next_batch(self._queue, self._most_rows())
        now = time.perf_counter()
        for job in batch:
            job.is_running = True
            self._observer.queued(now - job.since)
        if not batch:
            self._end_if_retired()
        elif self._pace.is_short:
            self._settle_all(batch, *self._called(batch))
            self._go_on()
        else:
            self._hand_over(batch)
        return len(batch)

    def _most_rows(self) -> int:
        """Leave other threads their share of long calls' rows."""
        if len(self._threads) == 1 or not self._pace.is_long:
            return self._pace.limit
        rows = self._running_rows + sum(job.rows.count for job in self._queue)
        return min(self._pace.limit, rows_each(rows, len(self._threads)))

    def _hand_over(self, batch: Sequence[Job]) -> None:
        thread = self._free.pop()
        self._run(batch, 1)
        thread.submit(lambda: self._call(batch, thread))
        if self._queue and self._has_room():
            self._be_due()

    def _run(self, batch: Sequence[Job], sign: int) -> None:
        """Count a call in or out."""
        self.running += sign * len(batch)
        self._running_rows += sign * rows_of(batch)

    def _go_on(self) -> None:
        """After a call on the loop: let others have their turn before the next."""
        if self._queue:
            self._be_due()
        else:
            self._end_if_retired()

    def _called(self, batch: Sequence[Job]) -> tuple[Sequence[Outcome], float]:
        started = time.perf_counter()
        outcomes = predict_each(self._predict, [job.rows for job in batch], self._pace.ran_out_of_memory)
        return outcomes, time.perf_counter() - started

    def _call(self, batch: Sequence[Job], thread: ModelThread) -> None:
        """Run on a model's thread."""
        self._loop.call_soon_threadsafe(self._finish, batch, thread, *self._called(batch))

    def _finish(self, batch: Sequence[Job], thread: ModelThread, outcomes: Sequence[Outcome], seconds: float) -> None:
        self._free.append(thread)
        self._run(batch, -1)
        self._note(batch, seconds, on_loop=False)
        # The model gets its next batch before the answers are written, so that it never waits for us.
        if not self._is_due and self._has_room():
            self._start_next()
        self._answer(batch, outcomes)

    def _settle_all(self, batch: Sequence[Job], outcomes: Sequence[Outcome], seconds: float) -> None:
        self._note(batch, seconds, on_loop=True)
        self._answer(batch, outcomes)

    def _note(self, batch: Sequence[Job], seconds: float, *, on_loop: bool) -> None:
        rows = rows_of(batch)
        self._pace.note(rows, seconds, len(batch) + len(self._queue), on_loop=on_loop)
        self._observer.batch(rows, seconds)

    def _answer(self, batch: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        if isinstance(outcomes[0], Prediction):
            self.answered = batch[0].rows
        for job, outcome in zip(batch, outcomes, strict=True):
            self._settle(job, outcome)


def rows_of(batch: Sequence[Job]) -> int:
    return batch[0].rows.count if len(batch) == 1 else sum(job.rows.count for job in batch)
