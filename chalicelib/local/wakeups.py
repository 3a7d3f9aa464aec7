"""One-shot timers in memory, and the threads that answer them.

A wake-up is only a name: it says "look again". One name is never answered twice at the same time; a name that is set
while it is being answered is answered once more afterwards. What raises is logged and tried again, later each time.
Timers needn't survive a crash: a re-sync at the start wakes whatever isn't settled.
"""

import heapq
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from chalicelib.domain.errors import Conflict

log = logging.getLogger(__name__)
_THREADS = 4
_LONGEST_RETRY = timedelta(seconds=30)


class Wakeups:
    """`pipeline.ports.Timers` on one machine."""

    def __init__(self, answer: Callable[[str], None], *, is_long: Callable[[str], bool] = lambda _: False) -> None:
        """Answers for which `is_long` holds have threads of their own, so that none of the others waits for them."""
        self._answer = answer
        self._is_long = is_long
        self._due: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._busy: set[str] = set()
        self._failures: dict[str, int] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._pools = {long: ThreadPoolExecutor(_THREADS, thread_name_prefix="wakeup") for long in (False, True)}
        self._dispatcher = threading.Thread(target=self._dispatch, name="wakeups", daemon=True)

    def start(self) -> None:
        self._dispatcher.start()

    def stop(self) -> None:
        """Answer nothing more, and wait for what is being answered."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._dispatcher.ident:
            self._dispatcher.join()
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)

    def set(self, name: str, at: datetime) -> None:
        """Set the timer of a name; one that was set before and isn't being answered yet keeps the earlier moment."""
        with self._changed:
            present = self._due.get(name)
            if present is None or at < present:
                self._due[name] = at
                heapq.heappush(self._heap, (at, name))
                self._changed.notify()

    def _dispatch(self) -> None:
        with self._changed:
            while not self._stopping:
                if name := self._next():
                    self._busy.add(name)
                    self._pools[self._is_long(name)].submit(self._run, name)
                else:
                    self._changed.wait(self._until_next())

    def _next(self) -> str | None:
        """Take the first name that is due and not being answered."""
        now = datetime.now(UTC)
        waiting = []
        found = None
        while self._heap and self._heap[0][0] <= now and not found:
            at, name = heapq.heappop(self._heap)
            if self._due.get(name) != at:
                continue  # the timer was moved
            if name in self._busy:
                waiting.append((at, name))
            else:
                found = name
                del self._due[name]
        for entry in waiting:
            heapq.heappush(self._heap, entry)
        return found

    def _until_next(self) -> float:
        """Return the seconds until the next name that isn't being answered; the end of an answer notifies."""
        now = datetime.now(UTC)
        return min((max(0.0, (at - now).total_seconds()) for at, n in self._heap if n not in self._busy), default=60.0)

    def _run(self, name: str) -> None:
        retry = None
        try:
            self._answer(name)
            self._failures.pop(name, None)
        except Conflict:
            retry = timedelta(0)  # somebody else wrote: gather again
        except Exception:
            log.exception("%s failed; it is tried again", name)
            self._failures[name] = self._failures.get(name, 0) + 1
            retry = min(_LONGEST_RETRY, timedelta(seconds=0.5 * 2 ** self._failures[name]))
        with self._changed:
            self._busy.discard(name)
            self._changed.notify()
        if retry is not None:
            self.set(name, datetime.now(UTC) + retry)
