"""The routes of hooks over the real verbs: an admin's, and the calls that need no key."""

import pytest

from chalicelib.domain.hooks import Form
from tests.api_caller import Caller, registered, stepping
from tests.fakes_pipeline import fake_ports
from tests.hook_calls import GITHUB_SECRET, SECRET, Audit, asks, github, standard

CI = {"name": "ci", "actions": ["promote", "start_rollout"], "endpoints": ["digits"], "secret": SECRET}
GITHUB = {
    "name": "gh",
    "form": "github",
    "actions": ["start_rollout"],
    "endpoints": ["digits"],
    "secret": GITHUB_SECRET,
}
ON_RELEASE = {"event": "release", "action": "start_rollout", "endpoint": "digits", "model_id": "digits"}


@pytest.fixture
def caller():
    caller = Caller(fake_ports(audit=Audit()))
    stepping(caller.ports, "digits/1")
    caller.post("/v1/hooks", CI)
    return caller


def send(caller, name, call):
    """Call a hook."""
    return caller.call("POST", f"/v1/hooks/{name}", call.body, dict(call.headers))


def signed(caller, body, id_="msg_1"):
    return standard(body, caller.ports.clock(), id_)


def test_a_made_hook_is_shown_with_its_secret_once(caller):
    made = caller.post("/v1/hooks", {**CI, "name": "cd", "secret": ""})
    assert (made.status, made.body["secret"][:6]) == (201, "whsec_")
    listed = caller.get("/v1/hooks").body["hooks"]
    assert [hook["name"] for hook in listed] == ["cd", "ci"]
    assert made.body["secret"] not in str(listed)
    assert {name: value for name, value in made.body.items() if name != "secret"} == listed[0]


def test_a_call_is_answered_with_what_came_of_it(caller):
    answer = send(caller, "ci", signed(caller, asks("promote")))
    rollout = caller.get("/v1/endpoints/digits/rollout").body
    assert (answer.status, answer.body) == (
        202,
        {"outcome": "accepted", "action": "promote", "endpoint": "digits", "rollout": rollout["id"]},
    )


def test_an_event_that_nobody_asked_for_is_ignored(caller):
    rule = {**ON_RELEASE, "version_from": "tag"}
    assert caller.post("/v1/hooks", {**GITHUB, "rules": [rule]}).status == 201
    answer = send(caller, "gh", github(b'{"zen": "Design for failure."}', "ping"))
    assert (answer.status, answer.body) == (
        202,
        {"outcome": "ignored", "action": None, "endpoint": None, "rollout": None},
    )


def test_a_rule_starts_the_version_of_a_release(caller):
    registered(caller.ports, "digits/v2")
    caller.ports.clock.tick(minutes=1)
    caller.post("/v1/hooks", {**GITHUB, "rules": [{**ON_RELEASE, "version_from": "tag"}]})
    body = b'{"action": "published", "release": {"tag_name": "v2"}}'
    assert send(caller, "gh", github(body, "release")).body["outcome"] == "accepted"
    assert caller.get("/v1/endpoints/digits/rollout").body["version_id"] == "v2"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request"),
        (asks("delete"), 400, "bad_request"),
        (asks("start_rollout", model_id="digits", version_id=".."), 400, "illegal_name"),
        (asks("abort"), 403, "forbidden"),
        (asks("promote", endpoint="faces"), 403, "forbidden"),
        (asks("start_rollout", model_id="digits", version_id="9"), 404, "not_found"),
    ],
)
def test_a_proven_call_that_cannot_be_done_says_why(caller, body, status, code):
    answer = send(caller, "ci", signed(caller, body))
    assert (answer.status, answer.error["code"]) == (status, code)


def test_a_call_that_comes_again_is_a_conflict(caller):
    assert send(caller, "ci", signed(caller, asks("promote"))).status == 202
    again = send(caller, "ci", signed(caller, asks("promote")))
    assert (again.status, again.error["code"]) == (409, "already_taken")


def test_unknown_and_forged_are_one_answer(caller):
    unknown = send(caller, "nobody", signed(caller, asks("promote")))
    forged = send(caller, "ci", standard(asks("promote"), caller.ports.clock(), secret="whsec_" + "B" * 43 + "="))
    assert (unknown.status, unknown.body) == (forged.status, forged.body)
    assert (unknown.status, unknown.error["code"]) == (401, "refused")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"actions": []}, "bad_request"),
        ({"actions": ["delete"]}, "bad_request"),
        ({"form": "gitlab_token", "secret": ""}, "bad_hook"),
        ({"secret": "whsec_AA"}, "bad_secret"),
        ({"rules": [ON_RELEASE]}, "bad_hook"),
        ({"endpoints": ["a/b"]}, "bad_hook"),
        ({"name": "a b"}, "bad_hook"),
        ({"colour": "red"}, "bad_request"),
    ],
)
def test_a_hook_that_could_not_work_is_not_made(caller, changes, code):
    answer = caller.post("/v1/hooks", {**CI, "name": "cd", **changes})
    assert (answer.status, answer.error["code"]) == (400, code)


def test_secrets_are_rotated_dropped_and_revoked(caller):
    rotated = caller.post("/v1/hooks/ci/secrets", {})
    first, second = rotated.body["secrets"]
    assert rotated.body["secret"].startswith("whsec_")
    assert caller.post("/v1/hooks/ci/secrets", {}).error["code"] == "conflict"
    assert caller.call("DELETE", f"/v1/hooks/ci/secrets/{first['id']}").body["secrets"] == [second]
    assert caller.call("DELETE", "/v1/hooks/ci/secrets/none").status == 404
    revoked = caller.call("DELETE", "/v1/hooks/ci").body
    assert (revoked["secrets"], revoked["revoked"] is None) == ([], False)
    assert send(caller, "ci", signed(caller, asks("promote"))).status == 401


@pytest.mark.parametrize("form", Form)
def test_a_body_without_a_type_of_its_own_is_taken(caller, form):
    caller.post("/v1/hooks", {**CI, "name": "x", "form": form, "secret": "", "replayable": True})
    for kind in ("", "application/x-www-form-urlencoded", "application/json"):
        headers = {"content-type": kind} if kind else {}
        assert caller.call("POST", "/v1/hooks/x", b"\xff\x00", headers).status == 401
