"""The control API's routes for webhooks. On AWS there are none: EventBridge sends what its rules say."""

from collections.abc import Callable
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.domain.deliveries import State
from chalicelib.domain.webhook_rules import MOST_PATIENCE
from chalicelib.domain.webhooks import Webhook
from chalicelib.pipeline import webhooks
from chalicelib.pipeline.ports import Clock, Registry
from chalicelib.routing import Json, Page, Routes, page

routes = Routes("chalicelib.local.webhooks.api")
_PATIENCE = MOST_PATIENCE.total_seconds()


class _Bound:
    """What the routes work on; set once at start."""

    registry: Registry
    clock: Clock
    on_change: Callable[[], None]


def bind(registry: Registry, clock: Clock, on_change: Callable[[], None]) -> None:
    """Say where webhooks are kept; `on_change` is called when one, or what waits for it, has changed."""
    _Bound.registry = registry
    _Bound.clock = staticmethod(clock)
    _Bound.on_change = staticmethod(on_change)


# --- input -------------------------------------------------------------------------------------------------------
class AddWebhook(BaseModel):
    """Where events are told, and which: kinds as `rollout.*`; `secret` is made unless it is given."""

    model_config = ConfigDict(extra="forbid")
    url: str = Field(min_length=1)
    kinds: list[str] = Field(min_length=1, max_length=100)
    secret: str = ""
    private: bool = False
    patience_s: float = Field(default=Webhook.patience.total_seconds(), ge=1, le=_PATIENCE)


class Rotate(BaseModel):
    """For how long the present secret signs too, so that the receiver can change over."""

    model_config = ConfigDict(extra="forbid")
    keep_s: float = Field(default=86_400, ge=0, le=_PATIENCE)
    secret: str = ""


class Redeliver(BaseModel):
    """Ids of events; none named means all that were parked."""

    model_config = ConfigDict(extra="forbid")
    events: list[str] = Field(default=[], max_length=1000)


class DeliveryPage(Page):
    state: State | None = None


# --- routes ------------------------------------------------------------------------------------------------------
@routes.add("GET", "/v1/webhooks", "List the webhooks.", scope="admin", query=Page, answer="Webhooks")
def list_webhooks(query: Page) -> Json:
    return page("webhooks", webhooks.listed(_Bound.registry), "id", query)


@routes.add(
    "POST",
    "/v1/webhooks",
    "Add a webhook. The answer is the only place that shows its secret.",
    scope="admin",
    body=AddWebhook,
    answer="MadeWebhook",
    status=201,
)
def add_webhook(body: AddWebhook) -> Json:
    made = webhooks.add(
        _Bound.registry,
        _Bound.clock,
        url=body.url,
        kinds=body.kinds,
        secret=body.secret,
        private=body.private,
        patience=timedelta(seconds=body.patience_s),
    )
    _Bound.on_change()
    return made


@routes.add("GET", "/v1/webhooks/{webhook_id}", "Show a webhook.", scope="admin", answer="Webhook")
def show_webhook(webhook_id: str) -> Json:
    return webhooks.shown(_Bound.registry, webhook_id)


@routes.add(
    "DELETE",
    "/v1/webhooks/{webhook_id}",
    "Remove a webhook; what it was to be told is forgotten.",
    scope="admin",
    answer="Webhook",
)
def remove_webhook(webhook_id: str) -> Json:
    gone = webhooks.remove(_Bound.registry, webhook_id)
    _Bound.on_change()
    return gone


@routes.add(
    "GET",
    "/v1/webhooks/{webhook_id}/deliveries",
    "List a webhook's deliveries: those that wait, and those that ended lately.",
    scope="admin",
    query=DeliveryPage,
    answer="Deliveries",
)
def list_deliveries(webhook_id: str, query: DeliveryPage) -> Json:
    return page("deliveries", webhooks.deliveries(_Bound.registry, webhook_id, query.state or ""), "event", query)


@routes.add(
    "POST",
    "/v1/webhooks/{webhook_id}/rotate",
    "Give a webhook another secret; the one before signs too for a while.",
    scope="admin",
    body=Rotate,
    answer="MadeWebhook",
)
def rotate_webhook(webhook_id: str, body: Rotate) -> Json:
    keep = timedelta(seconds=body.keep_s)
    made = webhooks.rotate(_Bound.registry, _Bound.clock, webhook_id, keep=keep, secret=body.secret)
    _Bound.on_change()
    return made


@routes.add(
    "POST",
    "/v1/webhooks/{webhook_id}/redeliver",
    "Send events again: those named, else all that were parked.",
    scope="admin",
    body=Redeliver,
    answer="Redelivered",
    status=202,
)
def redeliver(webhook_id: str, body: Redeliver) -> Json:
    again = webhooks.redeliver(_Bound.registry, _Bound.clock, webhook_id, body.events)
    _Bound.on_change()
    return {"deliveries": again}


OPERATIONS = tuple(route.operation for route in routes.table)
