"""Sends what waits for webhooks: a thread with a loop of its own, so that no receiver holds up anything else.

The registry says what waits. It is read when something new may be there and each minute; in between, what it has is
known here. So a kill at any moment costs at most a repeat of the attempts that were under way.
"""

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from chalicelib.domain.deliveries import Delivery, State, next_due, next_up
from chalicelib.domain.webhooks import Webhook
from chalicelib.local.webhooks.post import TIMEOUT, Poster
from chalicelib.pipeline.deliveries import forget_old, keep_answer, waiting
from chalicelib.pipeline.ports import Clock, Registry
from chalicelib.pipeline.records import Records, Stored

log = logging.getLogger(__name__)
_TIDY_EVERY = timedelta(hours=1)
_LONGEST_SLEEP = 60.0  # seconds
_SHARE = 10  # after a read it isn't read again for so many times as long: a long queue leaves the machine to others
_AFTER_TROUBLE = 5.0  # seconds until the next look when one failed
_LOOK_UPS = 32  # names at once: one that nobody answers for holds up none of the others

_Name = tuple[str, str]  # a webhook's id and an event's


class Sender:
    """Delivers from `start` to `stop`. `look` says that webhooks or deliveries changed; any thread may call it.

    `on_told` is called after an event of ours was written (a delivery was parked): somebody has to announce it.
    """

    def __init__(
        self, registry: Registry, clock: Clock, *, on_told: Callable[[], None], timeout: float = TIMEOUT
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._on_told = on_told
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._woken = asyncio.Event()
        self._stopping = False
        self._busy: dict[_Name, asyncio.Task[None]] = {}
        self._webhooks: dict[str, Webhook] = {}
        self._stored: dict[_Name, Stored[Delivery]] = {}
        self._is_stale = True
        self._read_from = 0.0  # when it may be read again
        self._tidied = clock()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has stopped: the next start looks anew
            self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._is_stale = True
        self._woken.set()

    def stop(self) -> None:
        """End at once: an attempt under way is made again after the next start."""
        self._stopping = True
        self.look()
        self._thread.join()

    # --- on the loop -------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        names = ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="webhook-names")
        self._loop.set_default_executor(names)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            names.shutdown(wait=False, cancel_futures=True)
            self._loop.close()

    async def _serve(self) -> None:
        async with Poster(self._timeout) as poster:
            while not self._stopping:
                self._woken.clear()
                pause = self._look(poster)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
            for attempt in self._busy.values():
                attempt.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _look(self, poster: Poster) -> float:
        """Begin what is due, and return the seconds until the next look."""
        try:
            return min(self._read(), self._begin_due(poster))
        except Exception:
            log.exception("webhooks: a look failed; the next one comes soon")
            return _AFTER_TROUBLE

    def _read(self) -> float:
        """Read what waits when that may have changed, and return the seconds until it is read again."""
        began = time.monotonic()
        if began < self._read_from:
            return self._read_from - began if self._is_stale else _LONGEST_SLEEP
        if self._is_stale or began > self._read_from + _LONGEST_SLEEP:
            self._is_stale = False
            self._webhooks = {w.id: w.value for w in Records(self._registry).list(Webhook)}
            known = (d for d in waiting(self._registry) if d.value.webhook in self._webhooks)
            self._stored = {_name(d.value): d for d in known}
            self._read_from = time.monotonic() + _SHARE * (time.monotonic() - began)
        return _LONGEST_SLEEP

    def _begin_due(self, poster: Poster) -> float:
        now = self._clock()
        if now - self._tidied > _TIDY_EVERY:
            self._tidied = now
            forget_old(self._registry, now)
        known = [d.value for d in self._stored.values()]
        for delivery in next_up(known, self._busy, now):
            name = _name(delivery)
            attempt = self._attempt(poster, self._stored[name], self._webhooks[delivery.webhook])
            self._busy[name] = self._loop.create_task(attempt)
        due = next_due(known, self._busy, now)
        return _LONGEST_SLEEP if due is None else (due - now).total_seconds()

    async def _attempt(self, poster: Poster, stored: Stored[Delivery], webhook: Webhook) -> None:
        name = _name(stored.value)
        try:
            answer = await poster.post(webhook, stored.value.event, stored.value.body, self._clock())
            chance = random.random()  # noqa: S311 - jitter
            after = keep_answer(stored, webhook, answer, self._registry, now=self._clock(), chance=chance)
            self._keep(name, after)
        except Exception:
            log.exception("webhook %s: an attempt failed in itself; it is made again", webhook.id)
            await asyncio.sleep(_AFTER_TROUBLE)
        finally:
            self._busy.pop(name, None)
            self._woken.set()

    def _keep(self, name: _Name, after: Stored[Delivery] | None) -> None:
        """Remember what an attempt left, as the registry has it."""
        self._stored.pop(name, None)
        if after is None:
            self._is_stale = True
            return
        if after.value.state is State.WAITING:
            self._stored[name] = after
        failed = after.value.state is not State.DELIVERED
        if failed and (after.value.attempts == 1 or after.value.state is State.PARKED):  # not one line for each attempt
            log.warning("webhook %s: %s %s: %s", name[0], after.value.kind, name[1], after.value.last)
        if after.value.state is State.PARKED:
            self._on_told()


def _name(delivery: Delivery) -> _Name:
    return delivery.webhook, delivery.event
