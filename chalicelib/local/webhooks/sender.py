"""Sends what waits for webhooks: a thread with a loop of its own, so that no receiver holds up anything else.

The registry says what waits; nothing here is remembered but which attempts are under way. So a kill at any moment
costs at most a repeat of those, and a look that comes too often finds nothing to do.
"""

import asyncio
import contextlib
import logging
import random
import threading
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
_BREATH = 0.05  # seconds between two looks at the registry
_AFTER_TROUBLE = 5.0  # seconds until the next look when one failed
_LOOK_UPS = 32  # names at once: one that nobody answers for holds up none of the others


class Sender:
    """Delivers from `start` to `stop`. `look` says that something new may wait; any thread may call it.

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
        self._busy: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._tidied = clock()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has stopped: the next start looks anew
            self._loop.call_soon_threadsafe(self._woken.set)

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
                await asyncio.sleep(min(_BREATH, pause))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
            for attempt in self._busy.values():
                attempt.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _look(self, poster: Poster) -> float:
        """Begin what is due, and return the seconds until the next look."""
        try:
            return self._begin_due(poster)
        except Exception:
            log.exception("webhooks: a look failed; the next one comes soon")
            return _AFTER_TROUBLE

    def _begin_due(self, poster: Poster) -> float:
        now = self._clock()
        if now - self._tidied > _TIDY_EVERY:
            self._tidied = now
            forget_old(self._registry, now)
        webhooks = {w.id: w.value for w in Records(self._registry).list(Webhook)}
        stored = {(d.value.webhook, d.value.event): d for d in waiting(self._registry)}
        known = [d.value for d in stored.values() if d.value.webhook in webhooks]
        for delivery in next_up(known, self._busy, now):
            name = (delivery.webhook, delivery.event)
            attempt = self._loop.create_task(self._attempt(poster, stored[name], webhooks[delivery.webhook]))
            self._busy[name] = attempt
        due = next_due(known, self._busy, now)
        return _LONGEST_SLEEP if due is None else min(_LONGEST_SLEEP, (due - now).total_seconds())

    async def _attempt(self, poster: Poster, stored: Stored[Delivery], webhook: Webhook) -> None:
        delivery = stored.value
        try:
            answer = await poster.post(webhook, delivery.event, delivery.body, self._clock())
            chance = random.random()  # noqa: S311 - jitter
            self._tell(keep_answer(stored, webhook, answer, self._registry, now=self._clock(), chance=chance))
        except Exception:
            log.exception("webhook %s: an attempt failed in itself; it is made again", webhook.id)
            await asyncio.sleep(_AFTER_TROUBLE)
        finally:
            self._busy.pop((delivery.webhook, delivery.event), None)
            self._woken.set()

    def _tell(self, after: Delivery | None) -> None:
        if after and after.state is not State.DELIVERED:
            log.warning("webhook %s: %s %s: %s", after.webhook, after.kind, after.event, after.last)
        if after and after.state is State.PARKED:
            self._on_told()
