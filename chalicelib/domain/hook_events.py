"""What GitHub and GitLab say happened, by their own payloads: a table of which field holds what, and nothing more.

GitHub: docs.github.com/webhooks/webhook-events-and-payloads (the event stands in `X-GitHub-Event`). GitLab:
docs.gitlab.com/user/project/integrations/webhook_events (it stands in `object_kind`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.domain.hook_signatures import Call
from chalicelib.domain.hooks import NAMES_VERSION, Form, Hook, Rule, VersionFrom

_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_NO_COMMIT = "0" * 40  # a branch or tag that was deleted


@dataclass(frozen=True)
class Reading:
    """Where an event's payload has what; `counts` are a field and the value without which nothing has happened yet."""

    commit: str = ""
    tag: str = ""
    branch: str = ""
    ref: str = ""  # of a branch or a tag, in full
    counts: tuple[str, str] | None = None


@dataclass(frozen=True)
class Happening:
    event: str
    commit: str = ""
    tag: str = ""
    branch: str = ""

    def version_id(self, by: VersionFrom | None) -> str:
        match by:
            case VersionFrom.TAG:
                return self.tag
            case VersionFrom.COMMIT:
                return self.commit
        return ""


_GITHUB = {
    "push": Reading(commit="after", ref="ref"),
    "release": Reading(tag="release.tag_name", counts=("action", "published")),
    "workflow_run": Reading(
        commit="workflow_run.head_sha",
        branch="workflow_run.head_branch",
        counts=("workflow_run.conclusion", "success"),
    ),
}
_GITLAB = {
    "push": Reading(commit="checkout_sha", ref="ref"),
    "tag_push": Reading(commit="checkout_sha", ref="ref"),
    "release": Reading(commit="commit.id", tag="tag", counts=("action", "create")),
    "pipeline": Reading(
        commit="object_attributes.sha",
        branch="object_attributes.ref",
        counts=("object_attributes.status", "success"),
    ),
}
_READINGS: Mapping[Form, Mapping[str, Reading]] = {
    Form.STANDARD: {},
    Form.GITHUB: _GITHUB,
    Form.GITLAB: _GITLAB,
    Form.GITLAB_TOKEN: _GITLAB,
}


def events_of(form: Form) -> Sequence[str]:
    """Return the events that a hook of this form may have rules for."""
    return tuple(_READINGS[form])


def happening(form: Form, call: Call, payload: Mapping[str, Any]) -> Happening | None:
    """Return what a payload says has happened; None for what isn't over, went wrong, or isn't known to us."""
    event = call.header("x-github-event") if form is Form.GITHUB else _text(payload, "object_kind")
    reading = _READINGS[form].get(event)
    if reading is None or (reading.counts and _text(payload, reading.counts[0]) != reading.counts[1]):
        return None
    ref, commit = _text(payload, reading.ref), _text(payload, reading.commit)
    return Happening(
        event,
        commit="" if commit == _NO_COMMIT else commit,
        tag=_text(payload, reading.tag) or _below(_TAG, ref),
        branch=_text(payload, reading.branch) or _below(_BRANCH, ref),
    )


def rule_for(hook: Hook, seen: Happening) -> Rule | None:
    """Return the first rule that is about what happened."""
    return next((rule for rule in hook.rules if _applies(rule, seen)), None)


def _applies(rule: Rule, seen: Happening) -> bool:
    if rule.event != seen.event or rule.branch not in {"", seen.branch}:
        return False
    return rule.action not in NAMES_VERSION or bool(seen.version_id(rule.version_from))


def _text(payload: Any, path: str) -> str:
    """Return the text at a dotted path, "" where there is none."""
    value = payload
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def _below(prefix: str, ref: str) -> str:
    return ref.removeprefix(prefix) if ref.startswith(prefix) else ""
