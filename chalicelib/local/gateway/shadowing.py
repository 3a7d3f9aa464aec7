"""Copies of live requests for a shadow, made after the caller has the answer: threads of their own ask and compare.

On the loop a copied request costs a random number and an append. Everything else has a bound of its own: how many wait,
how large they are, how many a second, how long one may take. What is past a bound is counted and dropped, so a shadow
that hangs loses copies and nothing else.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Self

from chalicelib.domain import custom_attributes
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.invocation import Call, Reply
from chalicelib.domain.shadow import DROPPED, LARGE, Copy
from chalicelib.local.gateway.counters import Counters
from chalicelib.local.gateway.messages import Request
from chalicelib.local.gateway.routes import Routes
from chalicelib.local.gateway.upstream import Answer
from chalicelib.local.invoking import SocketInvoker
from chalicelib.pipeline.shadow import World, ask_shadow

THREADS = 4
MOST = 32  # waiting
PAUSE = 0.02  # seconds between two copies: what compares them shares our interpreter with the loop
_JOIN = 1.0  # seconds: a shadow that hangs isn't waited for
_PERCENT = 100
Keep = Callable[[str, bytes], None]
log = logging.getLogger(__name__)


class Shadows:
    """Asks shadows while it is entered."""

    def __init__(
        self, counters: Counters, routes: Routes, sockets: Callable[[str], Sequence[Path]], keep: Keep
    ) -> None:
        self._counters = counters
        self._queue: SimpleQueue[Copy | None] = SimpleQueue()
        self._due = 0.0
        self._routes = routes
        self._world = World(
            invoker=SocketInvoker(sockets),
            count=counters.count_copy,
            mark=counters.mark,
            keep=keep,
            takes=self._is_wanted,
            seconds=perf_counter,
        )
        self._threads = [
            threading.Thread(target=self._run, name=f"gateway-shadow-{n}", daemon=True) for n in range(THREADS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(_JOIN)

    def offer(self, endpoint: Endpoint, request: Request, answer: Answer, *, instances: bool) -> None:
        """Copy an answered request if it falls into the share; called on the loop."""
        to = endpoint.shadow
        if to is None or random.random() * _PERCENT >= to.how.share:  # noqa: S311 - chooses, guards nothing
            return
        id_ = request.get(b"x-request-id") or _made_up()
        copy = Copy(id_, endpoint.name, to, _call(request, instances=instances), _reply(answer))
        now = perf_counter()
        if copy.is_large:
            self._counters.mark(to.deployment, [LARGE])
        elif now < self._due or self._queue.qsize() >= MOST:
            self._counters.mark(to.deployment, [DROPPED])
        else:
            self._due = now + PAUSE
            self._queue.put(copy)

    def _is_wanted(self, copy: Copy) -> bool:
        endpoint = self._routes.endpoint(copy.endpoint)
        return endpoint is not None and endpoint.shadow == copy.to

    def _run(self) -> None:
        while copy := self._queue.get():
            try:
                ask_shadow(copy, self._world)
            except Exception:  # a process loop: the next copy is another one
                log.exception("a shadow's answer could not be compared")


def _made_up() -> str:
    return f"{random.getrandbits(64):016x}"


def _call(request: Request, *, instances: bool) -> Call:
    meant = {custom_attributes.CONTRACT: custom_attributes.INSTANCES} if instances else {}
    return Call(request.body, request.get(b"content-type"), request.get(b"accept"), meant)


def _reply(answer: Answer) -> Reply:
    return Reply(answer.status, answer.body, answer.fields.get(b"content-type", b"").decode("latin-1"), {})
