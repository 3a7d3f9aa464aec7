"""What a call asks for: by its body, or by what GitHub's and GitLab's payloads say happened."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import Rejected
from chalicelib.domain.hook_commands import BadCall, Command, command_of
from chalicelib.domain.hook_events import events_of
from chalicelib.domain.hook_signatures import Call
from chalicelib.domain.hooks import Action, Form, Hook, HookSecret, Rule, VersionFrom, check
from chalicelib.domain.refs import VersionRef
from tests.hook_calls import SECRET, asks

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALL = tuple(Action)
HOOK = Hook("ci", Form.STANDARD, ALL, ("digits",), (HookSecret("s1", SECRET, NOW),), NOW)
START = {"action": Action.START_ROLLOUT, "endpoint": "digits", "model_id": "digits"}
TAG, COMMIT = VersionFrom.TAG, VersionFrom.COMMIT
SHA = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"


def command(body, hook=HOOK):
    return command_of(hook, Call({}, body))


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (asks("promote"), Command(Action.PROMOTE, "digits")),
        (asks("abort", id="build-7"), Command(Action.ABORT, "digits")),
        (
            asks("start_rollout", model_id="digits", version_id="7"),
            Command(Action.START_ROLLOUT, "digits", VersionRef("digits", "7")),
        ),
    ],
)
def test_a_body_says_what_is_asked_for(body, asked):
    assert command(body) == asked


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "body"),
        (b"\xff", "body"),
        (b"[1]", "body"),
        (b"{}", "action"),
        (asks("delete"), "action"),
        (asks("promote", secret="x"), "secret"),
        (asks("promote", endpoint="../x"), "endpoint"),
    ],
)
def test_a_body_that_asks_for_nothing_we_know_names_what_is_wrong(body, where):
    with pytest.raises(BadCall) as bad:
        command(body)
    assert bad.value.where == where


@pytest.mark.parametrize("version_id", ["", "a/b", "..", "x" * 64])
def test_a_version_without_a_legal_name_is_refused(version_id):
    with pytest.raises(Rejected, match="VERSION_ID"):
        command(asks("start_rollout", model_id="digits", version_id=version_id))


@pytest.mark.parametrize(
    ("actions", "endpoints", "allowed"),
    [
        ((Action.PROMOTE,), ("digits",), True),
        ((Action.PROMOTE,), ("*",), True),
        ((Action.PROMOTE, Action.ABORT), ("faces", "digits"), True),
        ((Action.ABORT,), ("digits",), False),
        ((Action.PROMOTE,), ("digit", "digits2"), False),
    ],
)
def test_a_hook_is_for_its_own_actions_and_endpoints_only(actions, endpoints, allowed):
    hook = replace(HOOK, actions=actions, endpoints=endpoints)
    if allowed:
        assert command(asks("promote"), hook)
    else:
        with pytest.raises(Rejected) as refused:
            command(asks("promote"), hook)
        assert refused.value.code == "forbidden"


GITHUB = [
    ("release", {"action": "published", "release": {"tag_name": "v7"}}, TAG, "", "v7"),
    ("release", {"action": "created", "release": {"tag_name": "v7"}}, TAG, "", None),
    ("push", {"ref": "refs/heads/main", "after": SHA}, COMMIT, "", SHA),
    ("push", {"ref": "refs/heads/main", "after": SHA}, COMMIT, "main", SHA),
    ("push", {"ref": "refs/heads/topic", "after": SHA}, COMMIT, "main", None),
    ("push", {"ref": "refs/heads/main", "after": "0" * 40}, COMMIT, "main", None),
    ("push", {"ref": "refs/tags/v7", "after": SHA}, TAG, "", "v7"),
    ("push", {"ref": "refs/heads/main", "after": SHA}, TAG, "", None),
    ("push", {"ref": 7, "after": None}, COMMIT, "", None),
    ("workflow_run", {"workflow_run": {"conclusion": "success", "head_sha": SHA, "head_branch": "main"}}, COMMIT,
     "main", SHA),
    ("workflow_run", {"workflow_run": {"conclusion": "failure", "head_sha": SHA, "head_branch": "main"}}, COMMIT,
     "main", None),
    ("workflow_run", {"workflow_run": {"conclusion": None, "head_sha": SHA}}, COMMIT, "", None),
    ("ping", {"zen": "Design for failure."}, COMMIT, "", None),
]  # fmt: skip
GITLAB = [
    ("release", {"action": "create", "tag": "v7", "commit": {"id": SHA}}, TAG, "", "v7"),
    ("release", {"action": "create", "tag": "v7", "commit": {"id": SHA}}, COMMIT, "", SHA),
    ("release", {"action": "update", "tag": "v7"}, TAG, "", None),
    ("push", {"ref": "refs/heads/main", "checkout_sha": SHA}, COMMIT, "main", SHA),
    ("push", {"ref": "refs/heads/main", "checkout_sha": None}, COMMIT, "main", None),
    ("tag_push", {"ref": "refs/tags/v7", "checkout_sha": SHA}, TAG, "", "v7"),
    ("pipeline", {"object_attributes": {"status": "success", "sha": SHA, "ref": "main"}}, COMMIT, "main", SHA),
    ("pipeline", {"object_attributes": {"status": "running", "sha": SHA, "ref": "main"}}, COMMIT, "main", None),
    ("issue", {"object_attributes": {"status": "success", "sha": SHA}}, COMMIT, "", None),
]


def ruled(form, event, version_from, branch):
    rule = Rule(event=event, **START, version_from=version_from, branch=branch)
    return replace(HOOK, form=form, rules=(rule,))


@pytest.mark.parametrize(("event", "payload", "version_from", "branch", "version"), GITHUB)
def test_what_github_says_happened_names_the_version(event, payload, version_from, branch, version):
    call = Call({"x-github-event": event}, json.dumps(payload).encode())
    asked = command_of(ruled(Form.GITHUB, event, version_from, branch), call)
    assert (asked.ref.version_id if asked else None) == version


@pytest.mark.parametrize(("event", "payload", "version_from", "branch", "version"), GITLAB)
def test_what_gitlab_says_happened_names_the_version(event, payload, version_from, branch, version):
    call = Call({}, json.dumps({"object_kind": event, **payload}).encode())
    for form in (Form.GITLAB, Form.GITLAB_TOKEN):
        asked = command_of(ruled(form, event, version_from, branch), call)
        assert (asked.ref.version_id if asked else None) == version


def test_an_event_that_no_rule_is_about_asks_for_nothing():
    push = json.dumps({"object_kind": "push", "ref": "refs/heads/main", "checkout_sha": SHA}).encode()
    assert command(push, ruled(Form.GITLAB, "tag_push", TAG, "")) is None


@pytest.mark.parametrize("body", [b"payload=%7B%7D", b"[]", b"7", b"", b"[" * 100_000])
def test_a_payload_that_is_no_object_is_a_bad_call(body):
    with pytest.raises(BadCall):
        command(body, ruled(Form.GITHUB, "push", COMMIT, ""))


VALUES = st.none() | st.integers() | st.text(max_size=8) | st.lists(st.none(), max_size=1)
NESTED = VALUES | st.dictionaries(st.sampled_from(["tag_name", "head_sha", "conclusion", "id", "sha"]), VALUES)
FIELDS = ["ref", "after", "action", "release", "workflow_run", "object_kind", "object_attributes", "commit", "tag"]


@given(payload=st.dictionaries(st.sampled_from(FIELDS), NESTED))
def test_a_payload_of_whatever_types_is_at_most_refused(payload):
    for form in (Form.GITHUB, Form.GITLAB):
        for event in events_of(form):
            call = Call({"x-github-event": event}, json.dumps({"object_kind": event, **payload}).encode())
            with suppress(Rejected):
                asked = command_of(ruled(form, event, COMMIT, ""), call)
                assert asked is None or asked.endpoint == "digits"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "name: 'a/b' is not legal"),
        ({"actions": ()}, "actions: give at least one"),
        ({"endpoints": ()}, "endpoints: give at least one"),
        ({"endpoints": ("a b",)}, "endpoints: 'a b' is not legal"),
        ({"rules": (Rule("ping", **START, version_from=TAG),)}, "rules.0.event: 'ping' is no event"),
        ({"rules": (Rule("push", Action.PROMOTE, "faces"),)}, "rules.0: promote of 'faces' isn't among"),
        ({"rules": (Rule("push", Action.START_ROLLOUT, "digits"),)}, "rules.0: start_rollout needs model_id"),
    ],
)
def test_a_hook_that_could_never_do_what_it_says_is_refused(changes, message):
    hook = replace(HOOK, form=Form.GITHUB)
    with pytest.raises(Rejected, match=message) as refused:
        check(replace(hook, **changes), events_of(Form.GITHUB))
    assert refused.value.code == "bad_hook"


def test_rules_are_for_forms_that_have_events():
    with pytest.raises(Rejected, match="form standard has no events"):
        check(replace(HOOK, rules=(Rule("push", Action.PROMOTE, "digits"),)), events_of(Form.STANDARD))
