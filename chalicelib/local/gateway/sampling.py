"""Looks at a few answers of each deployment, off the gateway's loop: what they are built of is counted for the judge.

On the loop an answer that is looked at costs one comparison of times and one append; parsing is a thread's work. What
doesn't fit in a small queue isn't looked at.
"""

import threading
from queue import SimpleQueue
from time import perf_counter
from typing import Self

from chalicelib.domain.structure import marks_of
from chalicelib.local.gateway.counters import Counters
from chalicelib.local.gateway.upstream import Answer

PAUSE = 0.2  # seconds between two samples of one deployment
MOST = 64  # waiting


class Sampler:
    """Takes samples while it is entered."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._due: dict[str, float] = {}
        self._queue: SimpleQueue[tuple[str, Answer] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="gateway-samples", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look at what was taken, and end."""
        self._queue.put(None)
        self._thread.join()

    def offer(self, deployment: str, answer: Answer) -> None:
        """Take an answer if it is time for one; called on the loop."""
        now = perf_counter()
        if now < self._due.get(deployment, 0.0):
            return
        self._due[deployment] = now + PAUSE
        if self._queue.qsize() < MOST:
            self._queue.put((deployment, answer))

    def forget(self, kept: frozenset[str]) -> None:
        """Drop what is known of deployments that are not among `kept`."""
        for gone in set(self._due) - kept:
            self._due.pop(gone, None)

    def _run(self) -> None:
        while taken := self._queue.get():
            deployment, answer = taken
            content_type = answer.fields.get(b"content-type", b"").decode("latin-1")
            if marks := marks_of(answer.status, content_type, answer.body):
                self._counters.mark(deployment, marks)
