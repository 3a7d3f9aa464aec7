"""The queue before the model: what is queued the moment the model is free becomes the next batch.

There is no batch timer: an idle model starts at once, a busy one finds the next batch grown meanwhile.
Everything here runs on the event loop's thread except the call into the model.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol, TypeAlias

from modelserver.errors import RequestError, model_failed
from modelserver.log import emit, failure
from modelserver.rows import Prediction, Rows, joined

Outcome: TypeAlias = Prediction | RequestError
# A model may raise anything, sys.exit() included, and must not end the thread that calls it.
RAISED = (Exception, SystemExit)
SHORT_S = 0.001
SHORT_CALLS = 16


class Predict(Protocol):
    def __call__(self, batch: Sequence[Rows], /) -> Sequence[Prediction]: ...


class BatchObserver(Protocol):
    def batch(self, rows: int, seconds: float) -> None: ...


@dataclass(slots=True, eq=False)
class Job:
    """One request's rows on their way; `done` is called once, on the loop, unless it was cancelled."""

    rows: Rows
    done: Callable[[Outcome], None]
    timer: asyncio.TimerHandle | None = None
    is_running: bool = False
    is_settled: bool = False

    def settle(self, outcome: Outcome) -> None:
        if not self.is_settled:
            self.drop()
            self.done(outcome)

    def drop(self) -> None:
        self.is_settled = True
        if self.timer is not None:
            self.timer.cancel()


class ModelThread:
    """The one thread on which a model is loaded and called, as handlers and CUDA contexts expect."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name="model", daemon=True).start()

    def submit(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def _run(self) -> None:
        while True:
            self._calls.get()()


@dataclass(slots=True)
class Pace:
    """Whether calls have been short for long enough to be made on the loop itself, without a thread's hop.

    Only for models that compute: a stranger's handler may sleep or hang, and must never hold the loop.
    """

    may_be_short: bool
    short_calls: int = 0

    def note(self, seconds: float) -> None:
        self.short_calls = self.short_calls + 1 if seconds < SHORT_S else 0

    @property
    def is_short(self) -> bool:
        return self.may_be_short and self.short_calls >= SHORT_CALLS


class Engine:
    def __init__(
        self,
        predict: Predict,
        thread: ModelThread,
        *,
        max_batch: int,
        max_queue: int,
        timeout_s: float,
        observer: BatchObserver,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._predict = predict
        self._thread = thread
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._timeout_s = timeout_s
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Job] = deque()
        self._is_busy = False
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def submit(self, job: Job) -> None:
        """Queue a job; raise 503 where the queue is full."""
        if len(self._queue) >= self._max_queue:
            raise RequestError(503, "overloaded", f"{self._max_queue} requests are waiting already", retry_after=1)
        job.timer = self._loop.call_later(self._timeout_s, self._expire, job)
        self._queue.append(job)
        if not self._is_busy:
            self._is_busy = True
            # Not at once: requests that arrived in the same turn of the loop join this batch.
            self._loop.call_soon(self._start_next)

    def cancel(self, job: Job) -> None:
        """Forget a job whose client has gone; what is running already runs on unheard."""
        if not job.is_settled:
            job.drop()
            self._unqueue(job)

    def _expire(self, job: Job) -> None:
        self._unqueue(job)
        if job.is_running:
            job.settle(RequestError(504, "prediction_timeout", f"no prediction within {self._timeout_s:g} s"))
        else:
            message = f"waited {self._timeout_s:g} s for the model without a turn"
            job.settle(RequestError(503, "queue_timeout", message, retry_after=1))

    def _unqueue(self, job: Job) -> None:
        if not job.is_running and job in self._queue:
            self._queue.remove(job)

    def _start_next(self) -> None:
        batch = next_batch(self._queue, self._max_batch)
        self._is_busy = bool(batch)
        self.running = len(batch)
        for job in batch:
            job.is_running = True
        if batch and self._pace.is_short:
            self._settle(batch, *self._called(batch))
            self._loop.call_soon(self._start_next)
        elif batch:
            self._thread.submit(lambda: self._call(batch))

    def _called(self, batch: Sequence[Job]) -> tuple[Sequence[Outcome], float]:
        started = time.perf_counter()
        outcomes = predict_each(self._predict, [job.rows for job in batch])
        return outcomes, time.perf_counter() - started

    def _call(self, batch: Sequence[Job]) -> None:
        """Run on the model's thread."""
        self._loop.call_soon_threadsafe(self._finish, batch, *self._called(batch))

    def _finish(self, batch: Sequence[Job], outcomes: Sequence[Outcome], seconds: float) -> None:
        # The model gets its next batch before the answers are written, so that it never waits for us.
        self._start_next()
        self._settle(batch, outcomes, seconds)

    def _settle(self, batch: Sequence[Job], outcomes: Sequence[Outcome], seconds: float) -> None:
        self._pace.note(seconds)
        self._observer.batch(sum(job.rows.count for job in batch), seconds)
        for job, outcome in zip(batch, outcomes, strict=True):
            job.settle(outcome)


def next_batch(queue: deque[Job], max_rows: int) -> list[Job]:
    """Take the first job and those behind it that fit the same call; the others keep their order."""
    batch: list[Job] = []
    passed: list[Job] = []
    rows = 0
    while queue and rows < max_rows:
        job = queue.popleft()
        if batch and (job.rows.key != batch[0].rows.key or rows + job.rows.count > max_rows):
            passed.append(job)
        else:
            batch.append(job)
            rows += job.rows.count
    queue.extendleft(reversed(passed))
    return batch


def predict_each(predict: Predict, batch: Sequence[Rows]) -> Sequence[Outcome]:
    """One outcome a request: where a call raises, each request and then each row is tried by itself."""
    try:
        return predict(batch)
    except RAISED as error:
        if len(batch) > 1:
            return [predict_each(predict, [rows])[0] for rows in batch]
        return [_row_by_row(predict, batch[0], error)]


def _row_by_row(predict: Predict, rows: Rows, error: BaseException) -> Outcome:
    parts: Sequence[Rows] = rows.split()
    if len(parts) <= 1:
        return _said(error)
    predictions: list[Prediction] = []
    for i, part in enumerate(parts):
        try:
            predictions.extend(predict([part]))
        except RAISED as row_error:
            return _said(row_error, f"instances[{i}]")
    return joined(predictions)


def _said(error: BaseException, where: str = "") -> RequestError:
    """Log what a model raised with its traceback, of which the client gets only the message."""
    if not isinstance(error, RequestError):
        emit("model_error", **failure(error))
    return model_failed(error, where)
