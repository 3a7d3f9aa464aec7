"""What a wake-up does on one machine, and how the store's posted events become wake-ups."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from chalicelib.domain.errors import Rejected
from chalicelib.local.stores import Poll, Webhook
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.dividing import divide
from chalicelib.pipeline.hooks import forget_calls
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.register import register
from chalicelib.pipeline.sweep import sweep
from chalicelib.pipeline.tend import tend
from chalicelib.pipeline.validate import look
from chalicelib.pipeline.wakeups import ADVANCE, LOOK, REGISTER

log = logging.getLogger(__name__)
RE_SYNC = "re-sync"
ANNOUNCE = "announce"
FORGET = "forget"
_RE_SYNC_EVERY = timedelta(minutes=1)
_FORGET_EVERY = timedelta(days=1)


def answer(name: str, ports: Ports) -> None:
    """Look again at an upload, at an endpoint or at everything, and have what came of it told."""
    if name == ANNOUNCE:
        announce(ports)
        return
    if name == FORGET:
        forget_calls(ports)
        ports.timers.set(FORGET, ports.clock() + _FORGET_EVERY)
        return
    if name.startswith(LOOK):
        look(name.removeprefix(LOOK), ports)
    elif name.startswith(REGISTER):
        register(name.removeprefix(REGISTER), ports)
    elif name.startswith(ADVANCE):
        advance(name.removeprefix(ADVANCE), ports)
        divide(name.removeprefix(ADVANCE), ports)
        tend(name.removeprefix(ADVANCE), ports)
    else:
        re_sync(ports)
        sweep(ports)
        ports.timers.set(RE_SYNC, ports.clock() + _RE_SYNC_EVERY)
    # A wake-up of its own: one name is never answered twice at once, so nothing is told twice.
    ports.timers.set(ANNOUNCE, ports.clock())


class Receiver:
    """Takes the events that a store posts to us; what it can't take now, the store sends again."""

    def __init__(self, events: Poll | Webhook, on_look: Callable[[str], None]) -> None:
        self._events = events
        self._on_look = on_look

    def __call__(self, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status to answer with: 403 to who isn't the store."""
        if not isinstance(self._events, Webhook) or not self._events.check_token(headers.get("authorization")):
            return 403
        try:
            looks = self._events.receive(body)
        except Rejected as error:
            log.warning("%s; the next listing finds what it meant", error)
            return 200  # sent again it would be the same
        for each in looks:
            self._on_look(each.prefix)
        return 200
