"""What the routes for webhooks answer, as schemas for the OpenAPI document: `chalicelib.answers` has the others."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel

from chalicelib.answers import Answer, Page
from chalicelib.domain.deliveries import State


class SigningSecret(Answer):
    """When a webhook's secret was made, and until when it signs; null for the present one."""

    created: datetime
    until: datetime | None


class Webhook(Answer):
    """Where events are told. `waiting`, `delivered` and `parked` count what is known of it.

    `trouble` is what came of the last attempt at what waits longest, empty while all is well.
    """

    id: str
    url: str
    kinds: list[str]
    private: bool
    patience_s: float
    created: datetime
    secrets: list[SigningSecret]
    waiting: int
    delivered: int
    parked: int
    trouble: str


class MadeWebhook(Webhook):
    """The only answer that holds the secret itself."""

    secret: str


class Delivery(Answer):
    """One event on its way to a webhook; `due` is its next attempt, null once it has ended."""

    event: str
    kind: str
    subject: str
    state: State
    attempts: int
    last: str
    due: datetime | None
    ended: datetime | None


class Redelivered(Answer):
    deliveries: list[Delivery]


class Webhooks(Page):
    webhooks: list[Webhook]


class Deliveries(Page):
    deliveries: list[Delivery]


_ALL = (Webhook, MadeWebhook, Redelivered, Webhooks, Deliveries)
WEBHOOK_ANSWERS: Mapping[str, type[BaseModel]] = {model.__name__: model for model in _ALL}
