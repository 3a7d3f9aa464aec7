"""How a store's hints reach the platform: polled by a thread, or received by the platform's HTTP server."""

import hmac
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chalicelib.adapters.sqs import Queue
from chalicelib.domain.errors import Rejected
from chalicelib.domain.objects import StoredObject
from chalicelib.events import Look, looks_at, parse_body
from chalicelib.pipeline.ports import Bucket

log = logging.getLogger(__name__)
OnLook = Callable[[str], None]
QUEUE_WAIT = 2  # seconds that one long poll takes, and so what stopping may take
AFTER_ERROR = 2.0  # seconds


class Poll(Protocol):
    def __call__(self, on_look: OnLook, stop: threading.Event) -> None:
        """Wait a while for hints, call `on_look(prefix)` for each, and return; early when `stop` is set."""
        ...


@dataclass(frozen=True)
class Webhook:
    """Nothing to poll: the store posts its events, with a token, to a URL of ours."""

    token: str = field(repr=False)

    def check_token(self, header: str | None) -> bool:
        """Tell whether an Authorization header is the store's."""
        return hmac.compare_digest((header or "").encode(), f"Bearer {self.token}".encode())

    def receive(self, body: bytes) -> Sequence[Look]:
        """Return where to look after a posted event: nowhere, and a line in the log, if it isn't understood.

        Answer 2xx then, too: MinIO sends a refused event for ever, and none after it.
        """
        return _readable(body)


@dataclass(frozen=True)
class QueuePoll:
    """Hints of a store that sends its events to an SQS queue."""

    queue: Queue

    def __call__(self, on_look: OnLook, stop: threading.Event) -> None:
        del stop  # a long poll is short
        messages = self.queue.receive(QUEUE_WAIT)
        for prefix in dict.fromkeys(look.prefix for message in messages for look in _readable(message.body)):
            on_look(prefix)
        self.queue.done(messages)  # only now: a hint that nobody took comes again


def _readable(body: str | bytes) -> Sequence[Look]:
    try:
        return parse_body(body)
    except Rejected:
        log.exception("an event was not understood; the next listing finds what it meant")
        return ()


@dataclass
class ListingPoll:
    """Hints for a store without events: two listings compared. The first one names every upload there is."""

    bucket: Bucket
    every: float  # seconds
    _seen: frozenset[StoredObject] = frozenset()

    def __call__(self, on_look: OnLook, stop: threading.Event) -> None:
        listed = frozenset(self.bucket.list())
        for look in looks_at(sorted(item.key for item in listed ^ self._seen)):
            on_look(look.prefix)
        self._seen = listed
        stop.wait(self.every)


class Watcher:
    """A thread that turns a store's hints into calls of `on_look(prefix)`, until it is stopped."""

    def __init__(self, poll: Poll, on_look: OnLook, *, after_error: float = AFTER_ERROR) -> None:
        self._poll, self._on_look, self._after_error = poll, on_look, after_error
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait for the call that is under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._poll(self._on_look, self._stop)
            except Exception:  # a process loop goes on: hints may be lost, the platform may not
                log.exception("the store's events can't be read; trying again in %g s", self._after_error)
                self._stop.wait(self._after_error)
