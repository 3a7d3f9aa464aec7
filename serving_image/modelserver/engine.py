"""The queue before the model: what is queued the moment the model is free becomes the next batch.

An idle model starts at once and a busy one finds the next batch grown meanwhile; only where calls are long is a moment
waited for (batching.py decides). Everything here runs on the event loop's thread except the call into the model.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from modelserver.batching import Pace, next_batch
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
    """The one thread on which a model is loaded and called, as handlers and CUDA contexts expect."""

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
        thread: ModelThread,
        *,
        max_queue: int,
        timeout_s: float,
        observer: BatchObserver,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._predict = predict
        self._thread = thread
        self._max_queue = max_queue
        self._timeout_s = timeout_s
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Job] = deque()
        # In the order of their deadlines, since all have the same time: one timer serves them all.
        self._open: dict[Job, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_busy = False
        self._waiter: asyncio.TimerHandle | None = None
        self._waiting_with = 0
        self._retired: Callable[[], None] | None = None
        self.running = 0
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
        if not self._is_busy:
            self._is_busy = True
            # Not at once: requests that arrived in the same turn of the loop join this batch.
            self._loop.call_soon(self._start_next)
        elif self._waiter is not None and not self._pace.wait_s(self._queue):
            self._stop_waiting()

    def cancel(self, job: Job) -> None:
        """Forget a job whose client has gone; what is running already runs on unheard."""
        if not job.is_settled:
            self._close(job)
            self._unqueue(job)

    def retire(self, done: Callable[[], None]) -> None:
        """Answer what is open, then end the model's thread and say so once."""
        self._retired = done
        self._end_if_retired()

    def _end_if_retired(self) -> None:
        if self._retired is not None and not self._is_busy:
            done, self._retired = self._retired, None
            self._thread.stop()
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
        batch = next_batch(self._queue, self._pace.limit)
        self._is_busy = bool(batch)
        self.running = len(batch)
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
            self._thread.submit(lambda: self._call(batch))
        return len(batch)

    def _go_on(self) -> None:
        """After a call on the loop: let others have their turn before the next."""
        self.running = 0
        self._is_busy = bool(self._queue)
        if self._queue:
            self._loop.call_soon(self._start_next)
        elif self._retired is not None:
            self._end_if_retired()

    def _called(self, batch: Sequence[Job]) -> tuple[Sequence[Outcome], float]:
        started = time.perf_counter()
        outcomes = predict_each(self._predict, [job.rows for job in batch], self._pace.ran_out_of_memory)
        return outcomes, time.perf_counter() - started

    def _call(self, batch: Sequence[Job]) -> None:
        """Run on the model's thread."""
        self._loop.call_soon_threadsafe(self._finish, batch, *self._called(batch))

    def _finish(self, batch: Sequence[Job], outcomes: Sequence[Outcome], seconds: float) -> None:
        self._note(batch, seconds)
        # The model gets its next batch before the answers are written, so that it never waits for us.
        self._start_next()
        self._answer(batch, outcomes)

    def _settle_all(self, batch: Sequence[Job], outcomes: Sequence[Outcome], seconds: float) -> None:
        self._note(batch, seconds)
        self._answer(batch, outcomes)

    def _note(self, batch: Sequence[Job], seconds: float) -> None:
        rows = batch[0].rows.count if len(batch) == 1 else sum(job.rows.count for job in batch)
        self._pace.note(rows, seconds, len(batch) + len(self._queue))
        self._observer.batch(rows, seconds)

    def _answer(self, batch: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        if isinstance(outcomes[0], Prediction):
            self.answered = batch[0].rows
        for job, outcome in zip(batch, outcomes, strict=True):
            self._settle(job, outcome)
