"""The control API over the real verbs and ports in memory."""

import pytest
from chalice import Chalice

from chalicelib import api
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import Conflict
from chalicelib.domain.traffic import EDGES_MS, Traffic
from chalicelib.pipeline.records import Stored
from tests.api_caller import Caller, registered, rejected, rolling, stepping, uploading
from tests.fakes_pipeline import fake_ports


@pytest.fixture
def caller():
    return Caller(fake_ports())


READS = [r.operation for r in api.routes.table if r.operation.scope == "read"]
CHANGES = [r.operation for r in api.routes.table if r.operation.scope == "deploy"]
KEYS = [r.operation for r in api.routes.table if r.operation.scope == "admin"]


def status_with(scopes, operation):
    path = operation.path.replace("{name}", "digits").replace("{key_id}", "k").replace("{rollout_id}", "r")
    path = path.replace("{secret_id}", "s")
    path = path.replace("{model_id}", "digits").replace("{version_id}", "1")
    return Caller(fake_ports(), scopes=scopes).call(operation.method, path, {}).status


@pytest.mark.parametrize("operation", [*READS, *CHANGES, *KEYS], ids=lambda o: o.id)
def test_a_key_that_only_predicts_may_neither_look_nor_change(operation):
    assert status_with("predict:digits predict:*", operation) == 403


@pytest.mark.parametrize("operation", KEYS, ids=lambda o: o.id)
def test_a_deploy_key_makes_no_keys(operation):
    assert status_with("deploy", operation) == 403


@pytest.mark.parametrize("operation", [*READS, *CHANGES], ids=lambda o: o.id)
def test_a_deploy_key_looks_and_changes(operation):
    assert status_with("deploy", operation) != 403


def test_a_refusal_names_the_scope_that_lacks():
    assert Caller(fake_ports(), scopes="deploy").get("/v1/keys").error == {
        "code": "forbidden",
        "message": "this key lacks the scope 'admin'; use one that has it",
    }


def test_any_key_may_ask_who_it_is():
    assert Caller(fake_ports(), scopes="predict:a deploy").get("/v1/whoami").body == {
        "key_id": "k1",
        "scopes": ["predict:a", "deploy"],
    }


def test_a_version_shows_what_is_still_missing(caller):
    uploading(caller.ports, "digits/1/", "variables/variables.index")
    shown = caller.get("/v1/models/digits/versions/1").body
    assert (shown["status"], shown["missing"]) == ("uploading", ["variables/variables.index"])


def test_a_rejected_version_shows_its_findings(caller):
    rejected(caller.ports, "digits/1/")
    shown = caller.get("/v1/models/digits/versions/1").body
    assert (shown["status"], shown["findings"][0]["code"]) == ("rejected", "no_serve_tag")


def test_drops_are_the_uploads_that_are_no_versions(caller):
    registered(caller.ports, "digits/1")
    uploading(caller.ports, "digits/2/", "model.mar")
    assert [d["key_prefix"] for d in caller.get("/v1/drops").body["drops"]] == ["digits/2/"]


def test_a_long_list_comes_in_pages(caller):
    for n in range(5):
        registered(caller.ports, f"m{n}/1")
    first = caller.get("/v1/models?limit=2").body
    second = caller.get(f"/v1/models?limit=2&after={first['next']}").body
    last = caller.get(f"/v1/models?limit=2&after={second['next']}").body
    seen = [m["model_id"] for page in (first, second, last) for m in page["models"]]
    assert (seen, last["next"]) == (["m0", "m1", "m2", "m3", "m4"], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "after=nobody"])
def test_a_page_that_cannot_be_is_refused_by_its_parameter(caller, query):
    answer = caller.get(f"/v1/models?{query}")
    assert (answer.status, answer.error["code"]) == (400, "bad_request")
    assert answer.error["message"].startswith(query.split("=", 1)[0])


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"model_id": "digits"}, "version_id"),
        ({"model_id": "digits", "version_id": 1}, "version_id"),
        ({"model_id": "digits", "version_id": "1", "weight": 5}, "weight"),
        (b"{", "body"),
        (b"", "body"),
        (b"[]", "body"),
        (b"\xff", "body"),
    ],
)
def test_a_malformed_body_is_a_400_that_names_the_field(caller, body, where):
    answer = caller.post("/v1/endpoints/digits/rollouts", body)
    assert (answer.status, answer.error["code"], answer.error["where"]) == (400, "bad_request", where)


def test_starting_a_rollout_opens_it(caller):
    registered(caller.ports, "digits/1")
    started = caller.post("/v1/endpoints/digits/rollouts", {"model_id": "digits", "version_id": "1"})
    assert (started.status, started.body["phase"]) == (202, "starting")
    assert caller.get("/v1/endpoints/digits").body["rollout"]["id"] == started.body["id"]


def test_what_is_not_registered_cannot_be_rolled_out(caller):
    answer = caller.post("/v1/endpoints/digits/rollouts", {"model_id": "digits", "version_id": "9"})
    assert (answer.status, answer.error["code"]) == (404, "not_found")


def test_an_illegal_name_is_a_400_that_says_the_rule(caller):
    answer = caller.post("/v1/endpoints/digits/rollouts", {"model_id": "a/b", "version_id": "1"})
    assert (answer.status, answer.error["code"]) == (400, "illegal_name")


def test_a_rollout_shows_its_timeline(caller):
    rollout = rolling(caller.ports, "digits/1")
    caller.post("/v1/endpoints/digits/pause")
    shown = caller.get(f"/v1/rollouts/{rollout}").body
    assert ([t["kind"] for t in shown["timeline"]], shown["paused"]) == (["rollout.opened", "rollout.paused"], True)


def test_an_endpoints_rollout_is_the_open_one_else_the_last(caller):
    rolling(caller.ports, "digits/1")
    caller.ports.clock.tick(seconds=1)
    second = rolling(caller.ports, "digits/2")
    assert caller.get("/v1/endpoints/digits/rollout").body["id"] == second


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort"])
def test_each_change_wakes_the_rollout(caller, verb):
    rolling(caller.ports, "digits/1")
    caller.ports.timers.due.clear()
    assert caller.post(f"/v1/endpoints/digits/{verb}").status == 202
    assert len(caller.ports.timers.due) == 1


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort", "rollback"])
def test_an_endpoint_that_is_not_there_is_a_404(caller, verb):
    assert caller.post(f"/v1/endpoints/nobody/{verb}").status == 404


def test_a_rollback_to_nothing_is_a_409_that_says_so(caller):
    caller.ports.registry.commit([Stored("idle", Endpoint("idle", owner="digits")).write])
    answer = caller.post("/v1/endpoints/idle/rollback")
    assert (answer.status, "no previous deployment" in answer.error["message"]) == (409, True)


def test_a_quantile_beyond_the_last_bucket_is_null_and_not_infinity(caller):
    stepping(caller.ports, "digits/1")
    canary = caller.get("/v1/endpoints/digits").body["rollout"]["canary"]
    caller.ports.metrics.seen[canary] = Traffic(1, latencies=(0,) * len(EDGES_MS) + (1,))
    counts = caller.get("/v1/endpoints/digits").body["rollout"]["traffic"]["canary"]
    assert (counts["requests"], counts["p95_ms"]) == (1, None)


class Contested:
    """A registry in which others are always quicker, for the first `times` commits."""

    def __init__(self, registry, times):
        self._registry = registry
        self.times = times

    def commit(self, writes, transitions=()):
        if self.times:
            self.times -= 1
            raise Conflict("another revision")
        self._registry.commit(writes, transitions)

    def __getattr__(self, name):
        return getattr(self._registry, name)


@pytest.mark.parametrize(("times", "status"), [(0, 202), (2, 202), (3, 409)])
def test_a_change_that_others_get_in_the_way_of_is_tried_three_times(times, status):
    ports = fake_ports()
    rolling(ports, "digits/1")
    contested = fake_ports(registry=Contested(ports.registry, times))
    answer = Caller(contested).post("/v1/endpoints/digits/pause")
    assert answer.status == status


def test_a_key_is_shown_once_and_its_hash_never(caller):
    made = caller.post("/v1/keys", {"name": "ci", "scopes": ["predict:digits"]})
    listed = caller.get("/v1/keys").body["keys"]
    assert (made.status, made.body["key"][:3]) == (201, "md_")
    assert listed == [{k: v for k, v in made.body.items() if k != "key"}]


def test_a_revoked_key_says_since_when(caller):
    made = caller.post("/v1/keys", {"name": "ci", "scopes": ["deploy"]}).body
    assert caller.call("DELETE", f"/v1/keys/{made['id']}").body["revoked"] is not None


@pytest.mark.parametrize("scopes", [[], ["predict:"], ["root"], [7], "deploy"])
def test_a_key_gets_no_scope_that_does_not_exist(caller, scopes):
    answer = caller.post("/v1/keys", {"name": "ci", "scopes": scopes})
    assert (answer.status, "scopes" in answer.error["message"]) == (400, True)


def test_an_unknown_key_is_a_404(caller):
    assert caller.call("DELETE", "/v1/keys/nobody").status == 404


def test_another_method_and_another_media_type_are_errors_of_our_form(caller):
    assert caller.call("PUT", "/v1/models").error["code"] == "method_not_allowed_error"
    answer = caller.call("POST", "/v1/keys", b"{}", {"content-type": "text/xml"})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


def test_a_bug_is_an_error_of_our_form_and_tells_nothing(caller):
    api.bind(lambda: 1 / 0)
    answer = caller.get("/v1/models")
    assert (answer.status, answer.error["message"]) == (500, "An internal server error occurred.")


def test_the_same_blueprint_serves_several_apps():
    Caller(fake_ports())
    assert Caller(fake_ports(), app=Chalice("other")).post("/v1/keys", {"name": "a", "scopes": ["admin"]}).status == 201
