"""One event on its way to one webhook: when it is tried, what an answer makes of it, and which go next.

Pure. A receiver gets each event at least once, those of one subject in order, except where one of them is refused or
can't be taken for a quarter of an hour: then the later ones go ahead.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

FIRST_WAIT = timedelta(seconds=1)  # after the first failure; each further one doubles it, up to
LONGEST_WAIT = timedelta(minutes=10)
LONGEST_ASKED = timedelta(hours=1)  # by a receiver's Retry-After
JITTER = 0.25  # of a wait, either way: receivers that come back aren't met by all at once
HOLD_BACK = timedelta(minutes=15)  # how long later events of a subject wait for one that can't be taken
AT_ONCE = 4  # attempts at one webhook
_LATER = frozenset({408, 425, 429})  # of the statuses that refuse: "not now"
_GONE = 410
_MOST_DOUBLINGS = 20


class State(StrEnum):
    WAITING = "waiting"  # for its first attempt, or the next
    DELIVERED = "delivered"
    PARKED = "parked"  # given up, until a person asks for it again


@dataclass(frozen=True)
class Delivery:
    """`body` is the event, byte by byte the same at each attempt. `last` says what came of the last one."""

    webhook: str
    event: str
    kind: str
    subject: str
    place: str  # sorts as the events were told
    body: str
    due: datetime
    state: State = State.WAITING
    attempts: int = 0
    first_tried: datetime | None = None
    last: str = ""
    refused: bool = False  # the last answer was about this event, not about the receiver's health
    ended: datetime | None = None

    def holds_back(self, now: datetime) -> bool:
        """Tell whether later events of the subject wait for this one."""
        return self.first_tried is None or (not self.refused and now - self.first_tried < HOLD_BACK)


@dataclass(frozen=True)
class Answer:
    """What came of an attempt: the receiver's status, 0 for none, and why in words."""

    status: int
    why: str
    retry_after: timedelta = timedelta(0)


def answered(delivery: Delivery, answer: Answer, *, patience: timedelta, now: datetime, chance: float) -> Delivery:
    """Return what an answer makes of a delivery; `chance` is any number from 0 to 1."""
    began = delivery.first_tried or now
    tried = replace(delivery, attempts=delivery.attempts + 1, first_tried=began, last=answer.why)
    if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's own
        return replace(tried, state=State.DELIVERED, refused=False, ended=now)
    if answer.status == _GONE or now - began >= patience:
        return replace(tried, state=State.PARKED, ended=now)
    refused = 300 <= answer.status < 500 and answer.status not in _LATER  # noqa: PLR2004 - HTTP's own
    return replace(tried, refused=refused, due=now + _wait(tried.attempts, answer.retry_after, chance))


def asked_again(delivery: Delivery, now: datetime) -> Delivery:
    """Return a delivery that begins anew: a person wants it sent again."""
    return replace(
        delivery, due=now, state=State.WAITING, attempts=0, first_tried=None, last="", refused=False, ended=None
    )


def next_up(waiting: Iterable[Delivery], busy: Collection[tuple[str, str]], now: datetime) -> list[Delivery]:
    """Return the deliveries to try now; `busy` are those (webhook, event) that are being tried.

    One at a time of each subject of a webhook, and at most AT_ONCE of a webhook: no receiver takes another's room.
    """
    room = _Room(busy)
    return [d for d in _heads(waiting, busy, now) if d.due <= now and room.takes(d.webhook)]


def next_due(waiting: Iterable[Delivery], busy: Collection[tuple[str, str]], now: datetime) -> datetime | None:
    """Return when the next delivery will be due that isn't yet and that no other holds back."""
    return min((d.due for d in _heads(waiting, busy, now) if d.due > now), default=None)


class _Room:
    """How many more attempts each webhook may have now."""

    def __init__(self, busy: Collection[tuple[str, str]]) -> None:
        self._taken: dict[str, int] = {}
        for webhook, _ in busy:
            self._taken[webhook] = self._taken.get(webhook, 0) + 1

    def takes(self, webhook: str) -> bool:
        taken = self._taken.get(webhook, 0)
        self._taken[webhook] = min(taken + 1, AT_ONCE)
        return taken < AT_ONCE


def _heads(waiting: Iterable[Delivery], busy: Collection[tuple[str, str]], now: datetime) -> Iterator[Delivery]:
    """Yield, in their order, the deliveries that no earlier one of their webhook and subject holds back."""
    held: set[tuple[str, str]] = set()
    for delivery in sorted(waiting, key=lambda d: d.place):
        lane = (delivery.webhook, delivery.subject)
        if lane in held:
            continue
        is_busy = (delivery.webhook, delivery.event) in busy
        if is_busy or delivery.due <= now or delivery.holds_back(now):
            held.add(lane)
        if not is_busy:
            yield delivery


def _wait(attempts: int, asked: timedelta, chance: float) -> timedelta:
    doubled: int = 2 ** min(attempts - 1, _MOST_DOUBLINGS)
    backoff = min(LONGEST_WAIT, FIRST_WAIT * doubled)
    return max(backoff * (1 + JITTER * (2 * chance - 1)), min(asked, LONGEST_ASKED))
