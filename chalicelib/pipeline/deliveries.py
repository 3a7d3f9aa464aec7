"""Deliveries in the registry: made with the outbox, kept through every attempt, and settled by what the receiver says.

A delivery's id begins with whether it is over, so that those on their way are listed without the rest.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from chalicelib.domain.deliveries import Answer, Delivery, State, answered
from chalicelib.domain.errors import Conflict
from chalicelib.domain.transition import Transition
from chalicelib.domain.webhooks import Webhook
from chalicelib.pipeline.ports import Registry, Write
from chalicelib.pipeline.records import Records, Stored, to_json
from chalicelib.pipeline.transitions import transition

PARKED = "webhook.parked"
_WAITING, _ENDED = "waiting/", "ended/"
_KEPT = {State.DELIVERED: timedelta(days=7), State.PARKED: timedelta(days=30)}


def hand_out(transitions: Sequence[Transition], registry: Registry, now: datetime) -> int:
    """Make a delivery of each transition for each webhook that takes it, and return how many; a repeat makes none."""
    webhooks = [w.value for w in Records(registry).list(Webhook)]
    made = [
        _of(t, webhook, f"{now.isoformat()}#{at:04}", now)
        for at, t in enumerate(transitions)
        for webhook in webhooks
        if _goes_to(webhook, t)
    ]
    new = [d for d in made if not _known(d, registry)]
    if new:
        registry.commit([Stored(_id(d), d).write for d in new])
    return len(new)


def waiting(registry: Registry) -> list[Stored[Delivery]]:
    return list(Records(registry).list(Delivery, _WAITING))


def of_webhook(registry: Registry, webhook: str) -> list[Stored[Delivery]]:
    records = Records(registry)
    return [d for prefix in (_WAITING, _ENDED) for d in records.list(Delivery, f"{prefix}{webhook}/")]


def keep_answer(
    delivery: Stored[Delivery], webhook: Webhook, answer: Answer, registry: Registry, *, now: datetime, chance: float
) -> Stored[Delivery] | None:
    """Keep what came of an attempt, and tell when it was given up; None when others changed it meanwhile."""
    after = answered(delivery.value, answer, patience=webhook.patience, now=now, chance=chance)
    told = [_parked(after, now)] if after.state is State.PARKED and after.kind != PARKED else []
    try:
        registry.commit(moved(delivery, after), told)
    except Conflict:
        return None  # removed, or asked for again: the receiver tells the repeat by its id
    is_same = _id(after) == delivery.id
    return Stored(_id(after), after, delivery.revision + 1 if is_same else 1)


def moved(before: Stored[Delivery], after: Delivery) -> list[Write]:
    """Return the writes that make a delivery what it is now, under the id that it has now."""
    if _id(after) == before.id:
        return [replace(before, value=after).write]
    return [replace(before.write, body=None), Stored(_id(after), after).write]


def forget_old(registry: Registry, now: datetime) -> None:
    """Delete what ended long ago, and what was handed out while its webhook was being removed."""
    webhooks = {w.id for w in Records(registry).list(Webhook)}
    for each in Records(registry).list(Delivery):
        if each.value.webhook not in webhooks or _is_old(each.value, now):
            registry.commit([replace(each.write, body=None)])


def _is_old(delivery: Delivery, now: datetime) -> bool:
    return delivery.ended is not None and now - delivery.ended > _KEPT[delivery.state]


def _of(told: Transition, webhook: Webhook, place: str, now: datetime) -> Delivery:
    body = json.dumps(to_json(told))
    return Delivery(webhook.id, told.id, told.kind, told.subject, place, body, due=now)


def _goes_to(webhook: Webhook, told: Transition) -> bool:
    """Tell whether a webhook takes a transition; that one of its own was parked goes to the others only."""
    about_itself = told.kind == PARKED and told.subject == webhook.id
    return webhook.takes(told.kind) and not about_itself


def _known(delivery: Delivery, registry: Registry) -> bool:
    name = f"{delivery.webhook}/{delivery.event}"
    records = Records(registry)
    return any(records.get(Delivery, prefix + name) for prefix in (_WAITING, _ENDED))


def _id(delivery: Delivery) -> str:
    prefix = _WAITING if delivery.state is State.WAITING else _ENDED
    return f"{prefix}{delivery.webhook}/{delivery.event}"


def _parked(delivery: Delivery, now: datetime) -> Transition:
    message = f"{delivery.kind} of {delivery.subject} is given up after {delivery.attempts} attempts: {delivery.last}"
    return transition(
        PARKED,
        delivery.webhook,
        message,
        at=now,
        once=f"{delivery.event} {now.isoformat()}",
        webhook=delivery.webhook,
        event=delivery.event,
        event_kind=delivery.kind,
        attempts=delivery.attempts,
        last=delivery.last,
    )
