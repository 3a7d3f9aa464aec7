"""The control API as one Chalice Blueprint: the same object answers on AWS and on one machine."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

from chalicelib import hook_api, openapi, traffic_api, upload_api
from chalicelib.domain.errors import NotFound
from chalicelib.domain.refs import VersionRef
from chalicelib.openapi import Operation
from chalicelib.pipeline import keys, manage, views
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import ApiKey
from chalicelib.routing import Json, Page, Routes, page, scopes_of

routes = Routes("chalicelib.api")
# Not answered here: predict must not pass through Chalice. The document lists it all the same.
PREDICT = tuple(
    Operation(
        "POST",
        path,
        name,
        "Call an endpoint.",
        scope="predict",
        answer="Prediction",
        description="The body is what the model takes; `X-Modeldrop-Key` keeps a caller with one version. "
        "`X-Modeldrop-Alias` or `X-Modeldrop-Version` (scope `dark:NAME`) says which deployment answers.",
        any_body=True,
    )
    for name, path in (("predict", "/v1/endpoints/{name}/predict"), ("predict_verb", "/v1/endpoints/{name}:predict"))
)


class _Bound:
    """What the routes work on; set once at start."""

    ports: Callable[[], Ports]
    beside: Sequence[Operation] = PREDICT
    answers: Mapping[str, type[BaseModel]] = MappingProxyType({})


def bind(
    ports: Callable[[], Ports],
    beside: Sequence[Operation] = PREDICT,
    answers: Mapping[str, type[BaseModel]] = _Bound.answers,
) -> None:
    """Say where the routes get their ports, which are asked for at each request, and what is answered beside them."""
    _Bound.ports = staticmethod(ports)
    _Bound.beside = beside
    _Bound.answers = answers


# --- input -------------------------------------------------------------------------------------------------------
class StartRollout(BaseModel):
    """Which registered version the endpoint goes to."""

    model_config = ConfigDict(extra="forbid")
    model_id: str = Field(min_length=1)
    version_id: str = Field(min_length=1)


class MakeKey(BaseModel):
    """A name for people to know the key by, and what it allows.

    That is one or more of `predict:NAME`, `predict:*`, `dark:NAME`, `dark:*`, `upload:MODEL`,
    `upload:*`, `deploy`, `admin`.
    """

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(min_length=1)


class RolloutPage(Page):
    endpoint: str = ""


# --- models and versions -----------------------------------------------------------------------------------------
@routes.add("GET", "/v1/models", "List the models.", query=Page, answer="Models")
def list_models(query: Page) -> Json:
    return page("models", views.models(_Bound.ports()), "model_id", query)


@routes.add("GET", "/v1/models/{model_id}", "Show a model.", answer="Model")
def show_model(model_id: str) -> Json:
    return views.model(model_id, _Bound.ports())


@routes.add("GET", "/v1/models/{model_id}/versions", "List a model's versions.", query=Page, answer="Versions")
def list_versions(model_id: str, query: Page) -> Json:
    return page("versions", views.versions(model_id, _Bound.ports()), "version_id", query)


@routes.add(
    "GET",
    "/v1/models/{model_id}/versions/{version_id}",
    "Show a version, its validation report and what is still missing.",
    answer="Version",
)
def show_version(model_id: str, version_id: str) -> Json:
    return views.version(VersionRef(model_id, version_id), _Bound.ports())


@routes.add("GET", "/v1/drops", "List the uploads that are no versions (yet).", query=Page, answer="Drops")
def list_drops(query: Page) -> Json:
    return page("drops", views.drops(_Bound.ports()), "key_prefix", query)


# --- endpoints and rollouts --------------------------------------------------------------------------------------
@routes.add("GET", "/v1/endpoints", "List the endpoints.", query=Page, answer="Endpoints")
def list_endpoints(query: Page) -> Json:
    return page("endpoints", views.endpoints(_Bound.ports()), "name", query)


@routes.add("GET", "/v1/endpoints/{name}", "Show an endpoint: split, deployments, rollout, traffic.", answer="Endpoint")
def show_endpoint(name: str) -> Json:
    return views.endpoint(name, _Bound.ports())


@routes.add("GET", "/v1/rollouts", "List the rollouts.", query=RolloutPage, answer="Rollouts")
def list_rollouts(query: RolloutPage) -> Json:
    return page("rollouts", views.rollouts(_Bound.ports(), query.endpoint), "id", query)


@routes.add("GET", "/v1/rollouts/{rollout_id}", "Show a rollout and its timeline.", answer="Rollout")
def show_rollout(rollout_id: str) -> Json:
    return views.rollout(rollout_id, _Bound.ports())


@routes.add(
    "GET",
    "/v1/disagreements/{rollout_id}",
    "Show what its shadow answered otherwise.",
    scope="admin",
    answer="Disagreements",
    description="At most 50, each with what a user sent; none where the operator or the drop doesn't have them kept.",
)
def show_disagreements(rollout_id: str) -> Json:
    return views.disagreements(rollout_id, _Bound.ports())


@routes.add("GET", "/v1/endpoints/{name}/rollout", "Show an endpoint's open rollout, else its last.", answer="Rollout")
def show_current_rollout(name: str) -> Json:
    return _current_rollout(name, _Bound.ports())


@routes.add(
    "POST",
    "/v1/endpoints/{name}/rollouts",
    "Start a rollout to a registered version.",
    scope="deploy",
    body=StartRollout,
    answer="Rollout",
    status=202,
)
def start_rollout(name: str, body: StartRollout) -> Json:
    return manage.start(name, VersionRef(body.model_id, body.version_id), _Bound.ports())


@routes.add("POST", "/v1/endpoints/{name}/pause", "Pause the rollout.", scope="deploy", answer="Rollout", status=202)
def pause(name: str) -> Json:
    return manage.pause(name, _Bound.ports())


@routes.add("POST", "/v1/endpoints/{name}/resume", "Resume the rollout.", scope="deploy", answer="Rollout", status=202)
def resume(name: str) -> Json:
    return manage.resume(name, _Bound.ports())


@routes.add(
    "POST", "/v1/endpoints/{name}/promote", "Promote the canary now.", scope="deploy", answer="Rollout", status=202
)
def promote(name: str) -> Json:
    return manage.promote(name, _Bound.ports())


@routes.add(
    "POST",
    "/v1/endpoints/{name}/approve",
    "Approve the step that the rollout waits before.",
    scope="deploy",
    answer="Rollout",
    status=202,
)
def approve(name: str) -> Json:
    return manage.approve(name, _Bound.ports())


@routes.add("POST", "/v1/endpoints/{name}/abort", "Abort the rollout.", scope="deploy", answer="Rollout", status=202)
def abort(name: str) -> Json:
    return manage.abort(name, _Bound.ports())


@routes.add(
    "POST",
    "/v1/endpoints/{name}/rollback",
    "Go back to the version promoted before, while it is warm.",
    scope="deploy",
    answer="Endpoint",
    status=202,
)
def rollback(name: str) -> Json:
    ports = _Bound.ports()
    manage.roll_back(name, ports)
    return views.endpoint(name, ports)


def _current_rollout(name: str, ports: Ports) -> Json:
    """Return the open rollout, else the one opened last."""
    views.endpoint(name, ports)
    past = views.rollouts(ports, name)
    if not past:
        raise NotFound(f"endpoint {name} has had no rollout")
    return views.rollout(past[-1]["id"], ports)


# --- splits, aliases, hooks and uploads --------------------------------------------------------------------------
def _ports() -> Ports:
    return _Bound.ports()


traffic_api.add(routes, _ports)
hook_api.add(routes, _ports)
upload_api.add(routes, _ports)


# --- keys and the API itself -------------------------------------------------------------------------------------
@routes.add("GET", "/v1/keys", "List the keys.", scope="admin", query=Page, answer="Keys")
def list_keys(query: Page) -> Json:
    return page("keys", [_shown(key) for key in keys.list_keys(_Bound.ports().registry)], "id", query)


@routes.add(
    "POST",
    "/v1/keys",
    "Make a key. The answer is the only place that shows it.",
    scope="admin",
    body=MakeKey,
    answer="MadeKey",
    status=201,
)
def make_key(body: MakeKey) -> Json:
    ports = _Bound.ports()
    key, secret = keys.make_key(ports.registry, ports.clock, name=body.name, scopes=body.scopes)
    return _shown(key) | {"key": secret}


@routes.add("DELETE", "/v1/keys/{key_id}", "Revoke a key.", scope="admin", answer="Key")
def revoke_key(key_id: str) -> Json:
    ports = _Bound.ports()
    return _shown(keys.revoke(ports.registry, ports.clock, key_id))


@routes.add("GET", "/v1/whoami", "Show the key that calls.", scope="", answer="Caller")
def whoami() -> Json:
    request = routes.current_request
    return {"key_id": request.context["authorizer"]["key_id"], "scopes": scopes_of(request)}


@routes.add("GET", "/openapi.json", "Show this document.", scope="", answer="Document")
def show_document() -> Json:
    from chalicelib.answers import ANSWERS  # noqa: PLC0415  # a third of the API's import, and needed for this alone

    return openapi.document(
        [*(route.operation for route in routes.table), *_Bound.beside], {**ANSWERS, **_Bound.answers}
    )


def _shown(key: ApiKey) -> dict[str, Json]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created": key.created.isoformat(),
        "revoked": key.revoked.isoformat() if key.revoked else None,
    }
