"""What a proven call asks for: by its body, or by a rule of its hook for what the body says happened."""

import json
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from chalicelib.domain.errors import Rejected
from chalicelib.domain.hook_events import happening, rule_for
from chalicelib.domain.hook_signatures import Call
from chalicelib.domain.hooks import NAMES_VERSION, Action, Form, Hook
from chalicelib.domain.refs import NAME_RULE, VersionRef, is_legal


@dataclass(frozen=True)
class Command:
    action: Action
    endpoint: str
    ref: VersionRef | None = None
    alias: str = ""


class Asked(BaseModel):
    """A call's body where its hook has no rules. `id` is there for a body to be unlike every other."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    action: Action
    endpoint: str
    model_id: str = ""
    version_id: str = ""
    alias: str = ""
    id: str = ""


class BadCall(Rejected):
    """A body that isn't what the hook takes; `where` is the first bad field."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}", code="bad_request")
        self.where = where


def command_of(hook: Hook, call: Call) -> Command | None:
    """Return what a call asks for, None where that is nothing; raises Rejected.

    An action or endpoint that the hook isn't for is refused here, so that nothing behind this has to ask.
    """
    command = _by_rule(hook, call) if hook.rules else _by_body(call.body)
    if command and not hook.allows(command.action, command.endpoint):
        may = f"{', '.join(hook.actions)} of {', '.join(hook.endpoints)}"
        raise Rejected(
            f"hook {hook.name} isn't for {command.action} of {command.endpoint[:80]!r}; it is for {may}",
            code="forbidden",
        )
    return command


def _by_body(body: bytes) -> Command:
    try:
        asked = Asked.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadCall(".".join(map(str, first["loc"]))[:80] or "body", first["msg"]) from error
    if not is_legal(asked.endpoint):
        raise BadCall("endpoint", f"{asked.endpoint[:80]!r} is not legal: {NAME_RULE}")
    ref = VersionRef(asked.model_id, asked.version_id) if asked.action in NAMES_VERSION else None
    return Command(asked.action, asked.endpoint, ref, asked.alias)


def _by_rule(hook: Hook, call: Call) -> Command | None:
    seen = happening(hook.form, call, _payload(hook.form, call))
    rule = rule_for(hook, seen) if seen else None
    if not seen or not rule:
        return None
    named = rule.action in NAMES_VERSION
    ref = VersionRef(rule.model_id, seen.version_id(rule.version_from)) if named else None
    return Command(rule.action, rule.endpoint, ref, rule.alias)


def _payload(form: Form, call: Call) -> dict[str, object]:
    try:
        payload = json.loads(call.body)
    except (ValueError, RecursionError) as error:
        hint = "; choose the content type application/json in the webhook's settings" if form is Form.GITHUB else ""
        raise BadCall("body", f"it isn't JSON{hint}") from error
    if not isinstance(payload, dict):
        raise BadCall("body", "it is no JSON object")
    return payload
