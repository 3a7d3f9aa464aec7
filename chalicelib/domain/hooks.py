"""A hook: what a CI system may ask for by a signed call, without a key. Its secret opens nothing else.

A hook names the actions and the endpoints that it may touch, so that a leaked secret costs no more than those. Two
secrets may be valid at once: the sender changes over in between.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.domain import standard_webhooks
from chalicelib.domain.aliases import check_alias
from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import NAME_RULE, is_legal

ANY_ENDPOINT = "*"
MOST_SECRETS = 2  # the one in use, and the one that follows it
MEMORY = timedelta(days=90)  # a call that was taken is known for so long
_PLAIN = re.compile(r"[!-~][ -~]{14,198}[!-~]")


class Form(StrEnum):
    """How a call shows that it is from the hook's own sender."""

    STANDARD = "standard"  # ours
    GITLAB = "gitlab"
    GITHUB = "github"
    GITLAB_TOKEN = "gitlab_token"  # noqa: S105 - no secret, but the name of a form


class Action(StrEnum):
    START_ROLLOUT = "start_rollout"
    APPROVE = "approve"
    PROMOTE = "promote"
    ABORT = "abort"
    SET_ALIAS = "set_alias"


NAMES_VERSION = frozenset({Action.START_ROLLOUT, Action.SET_ALIAS})  # what can't be asked for without one


class VersionFrom(StrEnum):
    """Which of an event's names is the VERSION_ID."""

    TAG = "tag"
    COMMIT = "commit"


@dataclass(frozen=True)
class Rule:
    """What an event of GitHub or GitLab asks for."""

    event: str
    action: Action
    endpoint: str
    model_id: str = ""
    version_from: VersionFrom | None = None
    branch: str = ""  # "" for any
    alias: str = ""


@dataclass(frozen=True)
class HookSecret:
    id: str
    secret: str = field(repr=False)
    created: datetime


@dataclass(frozen=True)
class Hook:
    """`rules` say what the sender's own events ask for; without any, a call's body says it."""

    name: str
    form: Form
    actions: tuple[Action, ...]
    endpoints: tuple[str, ...]
    secrets: tuple[HookSecret, ...]
    created: datetime
    rules: tuple[Rule, ...] = ()
    revoked: datetime | None = None

    def allows(self, action: Action, endpoint: str) -> bool:
        return action in self.actions and bool({endpoint, ANY_ENDPOINT} & {*self.endpoints})


def check(hook: Hook, events: Sequence[str]) -> Hook:
    """Return a hook whose names are legal and whose rules stay within what it allows; raises Rejected.

    `events` are those that a hook of this form may have rules for.
    """
    if not is_legal(hook.name):
        raise _bad("name", f"{hook.name[:80]!r} is not legal: {NAME_RULE}")
    if not hook.actions:
        raise _bad("actions", f"give at least one of {', '.join(Action)}")
    if not hook.endpoints:
        raise _bad("endpoints", f"give at least one endpoint, or {ANY_ENDPOINT!r} for each")
    for endpoint in hook.endpoints:
        if endpoint != ANY_ENDPOINT and not is_legal(endpoint):
            raise _bad("endpoints", f"{endpoint[:80]!r} is not legal: {NAME_RULE}")
    for at, rule in enumerate(hook.rules):
        _check_rule(f"rules.{at}", rule, hook, events)
    return hook


def _check_rule(where: str, rule: Rule, hook: Hook, events: Sequence[str]) -> None:
    if rule.event not in events:
        there = (
            f"form {hook.form} has {', '.join(events)}" if events else f"form {hook.form} has no events: leave it out"
        )
        raise _bad(f"{where}.event", f"{rule.event[:80]!r} is no event that a rule can be about; {there}")
    if not hook.allows(rule.action, rule.endpoint):
        raise _bad(where, f"{rule.action} of {rule.endpoint[:80]!r} isn't among the hook's actions and endpoints")
    names_version = bool(rule.model_id and rule.version_from)
    if rule.action in NAMES_VERSION and not names_version:
        raise _bad(where, f"{rule.action} needs model_id, and version_from: tag or commit")
    if rule.action is Action.SET_ALIAS:
        check_alias(rule.alias)


def key_of(form: Form, secret: str) -> bytes:
    """Return the bytes that sign; raises Rejected for a secret that isn't of the form's kind."""
    if form not in (Form.STANDARD, Form.GITLAB):
        if not _PLAIN.fullmatch(secret):
            raise _bad("secret", "give 16 to 200 printable ASCII characters")
        return secret.encode()
    return standard_webhooks.key_of(secret)


def secret_of(form: Form, random: bytes) -> str:
    """Return 32 random bytes as a secret of the form's kind."""
    if form in (Form.STANDARD, Form.GITLAB):
        return standard_webhooks.secret_of(random)
    return base64.urlsafe_b64encode(random).decode().rstrip("=")


def _bad(where: str, what: str) -> Rejected:
    return Rejected(f"{where}: {what}", code="bad_hook")
