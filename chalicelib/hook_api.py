"""The routes of hooks: an admin's, and the one route that asks for no key, for its calls are signed.

`api` puts them among its own. What a call that isn't proven gets is always the same answer.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from chalice.app import Response
from pydantic import BaseModel, ConfigDict, Field

from chalicelib.domain.errors import NotYet, Rejected
from chalicelib.domain.hook_commands import BadCall
from chalicelib.domain.hook_signatures import Call
from chalicelib.domain.hooks import Action, Form, Hook, Rule, VersionFrom
from chalicelib.pipeline import hook_calls, hooks
from chalicelib.pipeline.hook_calls import Received
from chalicelib.pipeline.ports import Ports
from chalicelib.routing import Json, Page, Routes, error_response, page

_STATUSES = {"refused": 401, "forbidden": 403, "not_found": 404, "already_taken": 409, "conflict": 409}
_BAD_REQUEST, _CONFLICT = 400, 409


class HookRule(BaseModel):
    """What an event of GitHub or GitLab asks for; `version_from` says which of its names is the VERSION_ID."""

    model_config = ConfigDict(extra="forbid")
    event: str
    action: Action
    endpoint: str
    model_id: str = ""
    version_from: VersionFrom | None = None
    branch: str = ""
    alias: str = ""


class MakeHook(BaseModel):
    """A hook, the actions and endpoints that it is for; `secret` only where the sender makes it."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1)
    form: Form = Form.STANDARD
    actions: list[Action] = Field(min_length=1)
    endpoints: list[str] = Field(min_length=1)
    rules: list[HookRule] = Field(default_factory=list)
    secret: str = ""
    replayable: Literal[True] | None = None


class RotateHook(BaseModel):
    """Nothing, or the secret that the sender made."""

    model_config = ConfigDict(extra="forbid")
    secret: str = ""


def add(routes: Routes, ports: Callable[[], Ports]) -> None:
    """Put the routes of hooks among others."""
    _add_making(routes, ports)
    _add_ending(routes, ports)
    _add_calling(routes, ports)


def _add_making(routes: Routes, ports: Callable[[], Ports]) -> None:
    @routes.add("GET", "/v1/hooks", "List the hooks.", scope="admin", query=Page, answer="Hooks")
    def list_hooks(query: Page) -> Json:
        return page("hooks", [_shown(hook) for hook in hooks.list_hooks(ports())], "name", query)

    @routes.add(
        "POST",
        "/v1/hooks",
        "Make a hook. The answer is the only place that shows its secret.",
        scope="admin",
        body=MakeHook,
        answer="MadeHook",
        status=201,
    )
    def make_hook(body: MakeHook) -> Json:
        return _made(_make(body, ports()))

    @routes.add(
        "POST",
        "/v1/hooks/{name}/secrets",
        "Make a second secret, valid beside the first.",
        scope="admin",
        body=RotateHook,
        answer="MadeHook",
        status=201,
    )
    def rotate_hook(name: str, body: RotateHook) -> Json:
        return _made(hooks.rotate(name, ports(), body.secret))


def _add_ending(routes: Routes, ports: Callable[[], Ports]) -> None:
    @routes.add(
        "DELETE", "/v1/hooks/{name}/secrets/{secret_id}", "Drop one of two secrets.", scope="admin", answer="Hook"
    )
    def drop_secret(name: str, secret_id: str) -> Json:
        return _shown(hooks.drop_secret(name, secret_id, ports()))

    @routes.add("DELETE", "/v1/hooks/{name}", "Revoke a hook.", scope="admin", answer="Hook")
    def revoke_hook(name: str) -> Json:
        return _shown(hooks.revoke_hook(name, ports()))


def _add_calling(routes: Routes, ports: Callable[[], Ports]) -> None:
    @routes.add_plain(
        "POST",
        "/v1/hooks/{name}",
        "Call a hook.",
        scope="hook",
        answer="HookCalled",
        status=202,
        any_body=True,
        description="`docs/hooks.md` says how a call is signed and what its body is.",
    )
    def call_hook(name: str) -> Response:
        asked = routes.current_request
        body = asked.raw_body or b""
        call = Call(dict(asked.headers), body if isinstance(body, bytes) else body.encode())
        return _answer(hook_calls.receive(name, call, ports()))


def _make(body: MakeHook, ports: Ports) -> tuple[Hook, str]:
    return hooks.make_hook(
        body.name,
        ports,
        form=body.form,
        actions=body.actions,
        endpoints=body.endpoints,
        rules=[Rule(**rule.model_dump()) for rule in body.rules],
        secret=body.secret,
        replayable=bool(body.replayable),
    )


def _answer(received: Received) -> Response:
    match received.refusal:
        case BadCall() as bad:
            return error_response(_BAD_REQUEST, bad.code, str(bad), bad.where)
        case Rejected() as rejected:
            return error_response(_STATUSES.get(rejected.code, _BAD_REQUEST), rejected.code, str(rejected))
        case NotYet() as not_yet:
            return error_response(_CONFLICT, "not_yet", str(not_yet))
    command = received.command
    done = {"action": command.action, "endpoint": command.endpoint} if command else {"action": None, "endpoint": None}
    return Response({"outcome": received.outcome, **done, "rollout": received.rollout or None}, status_code=202)


def _made(made: tuple[Hook, str]) -> dict[str, Json]:
    hook, secret = made
    return _shown(hook) | {"secret": secret}


def _shown(hook: Hook) -> dict[str, Json]:
    """Return what may be shown of a hook again: all but its secrets."""
    return {
        "name": hook.name,
        "form": hook.form,
        "actions": list(hook.actions),
        "endpoints": list(hook.endpoints),
        "rules": [HookRule.model_validate(rule, from_attributes=True).model_dump(mode="json") for rule in hook.rules],
        "secrets": [{"id": each.id, "created": _iso(each.created)} for each in hook.secrets],
        "created": _iso(hook.created),
        "revoked": _iso(hook.revoked) if hook.revoked else None,
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat()
