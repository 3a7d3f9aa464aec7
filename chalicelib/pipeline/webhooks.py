"""Webhooks as an operator steers them: added, listed, given another secret, removed, asked to send again."""

import secrets as random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from chalicelib.domain.deliveries import Delivery, State, asked_again
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.standard_webhooks import key_of, secret_of
from chalicelib.domain.webhook_rules import checked
from chalicelib.domain.webhooks import Secret, Webhook
from chalicelib.pipeline.deliveries import moved, of_webhook
from chalicelib.pipeline.ports import Clock, Registry, Write
from chalicelib.pipeline.records import Records, Stored

MOST = 50  # webhooks of a platform
_KEY_BYTES = 32
View = dict[str, Any]


def add(
    registry: Registry,
    clock: Clock,
    *,
    url: str,
    kinds: Sequence[str],
    secret: str = "",
    private: bool = False,
    patience: timedelta = Webhook.patience,
) -> View:
    """Keep a webhook; the answer alone holds its secret. Only events that are told from now on go there."""
    if len(Records(registry).list(Webhook)) >= MOST:
        raise Rejected(f"there are {MOST} webhooks already; remove one first", code="conflict")
    first = _made(secret, clock)
    id_ = f"wh-{random.token_hex(6)}"
    webhook = checked(Webhook(id_, url, tuple(dict.fromkeys(kinds)), (first,), clock(), private, patience))
    registry.commit([Stored(id_, webhook).write])
    return {**describe(webhook, registry), "secret": first.value}


def rotate(registry: Registry, clock: Clock, id: str, *, keep: timedelta, secret: str = "") -> View:  # noqa: A002
    """Sign with another secret from now on, and with the one before too while the receiver changes over."""
    stored = _webhook(registry, id)
    now, first = clock(), _made(secret, clock)
    until = now + keep
    old = [replace(s, until=min(s.until or until, until)) for s in stored.value.secrets if s.value != first.value][:1]
    changed = stored.to(secrets=(first, *(s for s in old if s.until and s.until > now)))
    registry.commit([changed.write])
    return {**describe(changed.value, registry), "secret": first.value}


def remove(registry: Registry, id: str) -> View:  # noqa: A002
    """Forget a webhook and every delivery of it, those that wait too."""
    stored = _webhook(registry, id)
    deliveries = of_webhook(registry, id)
    before = describe(stored.value, registry)
    registry.commit([replace(write, body=None) for write in (stored.write, *(d.write for d in deliveries))])
    return before


def redeliver(registry: Registry, clock: Clock, id: str, events: Sequence[str] = ()) -> list[View]:  # noqa: A002
    """Send events again; without any named, all that were parked."""
    _webhook(registry, id)
    ended = {d.value.event: d for d in of_webhook(registry, id) if d.value.state is not State.WAITING}
    if missing := [event for event in events if event not in ended]:
        raise NotFound(f"webhook {id} has no ended delivery of {missing[0]!r}; `webhooks status {id}` lists them")
    chosen = [ended[event] for event in events] or [d for d in ended.values() if d.value.state is State.PARKED]
    writes: list[Write] = []
    for each in chosen:
        writes += moved(each, asked_again(each.value, clock()))
    registry.commit(writes)
    return [_delivery(asked_again(each.value, clock())) for each in chosen]


def listed(registry: Registry) -> list[View]:
    return [describe(w.value, registry) for w in Records(registry).list(Webhook)]


def shown(registry: Registry, id: str) -> View:  # noqa: A002
    return describe(_webhook(registry, id).value, registry)


def deliveries(registry: Registry, id: str, state: str = "") -> list[View]:  # noqa: A002
    """Return a webhook's deliveries that are still known, those told first before the others."""
    _webhook(registry, id)
    found = (d.value for d in of_webhook(registry, id))
    return [_delivery(d) for d in sorted(found, key=lambda d: d.place) if state in {"", d.state}]


def describe(webhook: Webhook, registry: Registry) -> View:
    """Return a webhook as people see it: never its secrets."""
    known = [d.value for d in of_webhook(registry, webhook.id)]
    counts = Counter(d.state for d in known)
    stuck = min((d for d in known if d.state is State.WAITING and d.attempts), key=lambda d: d.place, default=None)
    return {
        "id": webhook.id,
        "url": webhook.url,
        "kinds": list(webhook.kinds),
        "private": webhook.private,
        "patience_s": webhook.patience.total_seconds(),
        "created": webhook.created.isoformat(),
        "secrets": [{"created": _text(s.created), "until": _text(s.until)} for s in webhook.secrets],
        **{str(state): counts[state] for state in State},
        "trouble": stuck.last if stuck else "",
    }


def _delivery(delivery: Delivery) -> View:
    return {
        "event": delivery.event,
        "kind": delivery.kind,
        "subject": delivery.subject,
        "state": str(delivery.state),
        "attempts": delivery.attempts,
        "last": delivery.last,
        "due": _text(delivery.due) if delivery.state is State.WAITING else None,
        "ended": _text(delivery.ended),
    }


def _text(moment: Any) -> str | None:
    return moment.isoformat() if moment else None


def _made(secret: str, clock: Clock) -> Secret:
    """Return the secret that was given, else a new one; raises Rejected."""
    value = secret or secret_of(random.token_bytes(_KEY_BYTES))
    key_of(value)
    return Secret(value, clock())


def _webhook(registry: Registry, id: str) -> Stored[Webhook]:  # noqa: A002
    if stored := Records(registry).get(Webhook, id):
        return stored
    raise NotFound(f"there is no webhook {id!r}; list them to see their ids")
