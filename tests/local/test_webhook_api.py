"""The routes for webhooks: an operator's alone, answers as documented, no input that breaks them; and the commands."""

import json
from urllib.parse import quote, urlencode

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from chalicelib.domain.deliveries import Answer
from chalicelib.domain.standard_webhooks import secret_of
from chalicelib.local.bus import WebhookBus
from chalicelib.local.webhooks import api as webhook_api
from chalicelib.local.webhooks.answers import WEBHOOK_ANSWERS
from chalicelib.openapi import document
from chalicelib.pipeline import webhooks
from chalicelib.pipeline.deliveries import keep_answer, waiting
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.transitions import transition
from tests.api_caller import Caller
from tests.fakes_pipeline import fake_ports
from tests.local.cli_platform import SmallPlatform, app_with_webhooks

DOCUMENT = document(webhook_api.OPERATIONS, WEBHOOK_ANSWERS)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
ADDED = {"url": "https://ci.example.com/hook", "kinds": ["rollout.*", "drop.rejected"]}


def a_platform():
    ports = fake_ports()
    return Caller(ports, app=app_with_webhooks(ports))


@pytest.fixture
def caller():
    return a_platform()


def happen(ports, *, parked=False):
    """Have a rollout's event wait for every webhook, or be given up."""
    about = {"endpoint": "digits", "version": "digits/v2"}
    told = transition("rollout.paused", "digits", "x", at=ports.clock(), once=str(ports.clock()), **about)
    WebhookBus(ports.registry, ports.clock, on_new=lambda: None).publish([told])
    for each in waiting(ports.registry) if parked else []:
        webhook = Records(ports.registry).get(webhooks.Webhook, each.value.webhook).value
        keep_answer(each, webhook, Answer(410, "answered 410"), ports.registry, now=ports.clock(), chance=0.5)
    return told.id


def documented(path, method, status):
    answer = DOCUMENT["paths"][path][method]["responses"][str(status)]
    return {**answer["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}


def test_a_webhook_from_its_first_day_to_its_last_answers_as_documented(caller):
    made = caller.post("/v1/webhooks", ADDED)
    jsonschema.validate(made.body, documented("/v1/webhooks", "post", 201))
    one = f"/v1/webhooks/{made.body['id']}"
    event = happen(caller.ports, parked=True)
    for path, of in (("", "/{webhook_id}"), ("/deliveries?state=parked", "/{webhook_id}/deliveries")):
        jsonschema.validate(caller.get(one + path).body, documented(f"/v1/webhooks{of}", "get", 200))
    assert [d["event"] for d in caller.get(f"{one}/deliveries").body["deliveries"]] == [event]
    again = caller.post(f"{one}/redeliver", {"events": [event]})
    jsonschema.validate(again.body, documented("/v1/webhooks/{webhook_id}/redeliver", "post", 202))
    rotated = caller.post(f"{one}/rotate", {"secret": secret_of(b"x" * 32), "keep_s": 60})
    assert (rotated.status, rotated.body["secret"]) == (200, secret_of(b"x" * 32))
    [listed] = caller.get("/v1/webhooks").body["webhooks"]
    assert (listed["waiting"], len(listed["secrets"]), "secret" in listed) == (1, 2, False)
    assert caller.call("DELETE", one).status == 200
    assert caller.get(one).status == 404


@pytest.mark.parametrize("scopes", ["deploy", "predict:*"])
def test_who_is_no_admin_sees_and_changes_nothing(caller, scopes):
    caller.scopes = scopes
    assert caller.get("/v1/webhooks").status == caller.post("/v1/webhooks", ADDED).status == 403


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"url": "http://ci.example.com/"}, "url"),
        ({"kinds": ["nothing.*"]}, "kinds"),
        ({"kinds": []}, "kinds"),
        ({"secret": "short"}, "secret"),
        ({"patience_s": 0}, "patience_s"),
        ({"more": 1}, "more"),
    ],
)
def test_a_webhook_that_cant_be_is_refused_by_the_field_that_is_wrong(caller, changes, where):
    refused = caller.post("/v1/webhooks", {**ADDED, **changes})
    assert (refused.status, refused.error["message"].partition(":")[0]) == (400, where)
    assert caller.get("/v1/webhooks").body["webhooks"] == []


@SCHEMA.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_a_documented_one(case):
    path = case.path.replace("{webhook_id}", quote(str((case.path_parameters or {}).get("webhook_id", "")), safe=""))
    target = f"{path}?{urlencode(case.query, doseq=True)}" if case.query else path
    nothing = isinstance(case.body, schemathesis.core.NotSet)
    body = case.body if isinstance(case.body, bytes) else None if nothing else json.dumps(case.body).encode()
    answer = a_platform().call(case.method, target, body)
    assert answer.status < 500


# --- the commands ------------------------------------------------------------------------------------------------
@pytest.fixture
def platform(tmp_path):
    with SmallPlatform(tmp_path).serving() as serving:
        yield serving


def test_a_webhook_is_added_listed_watched_and_removed_by_command(platform, tmp_path):
    own = tmp_path / "secret"
    own.write_text(secret_of(b"f" * 32) + "\n")
    kinds = ("--kinds", "rollout.*", "--kinds", "copy.swept")
    added = platform.run("webhooks", "add", "http://localhost:9/", "--private", *kinds, "--secret-file", str(own))
    id_, secret = added.stdout.split()
    assert secret == secret_of(b"f" * 32)
    event = happen(platform.ports, parked=True)
    listed = json.loads(platform.run("webhooks", "list", "--json").stdout)
    assert [(w["id"], w["kinds"], w["parked"]) for w in listed] == [(id_, ["rollout.*", "copy.swept"], 1)]
    [parked] = json.loads(platform.run("webhooks", "status", id_, "--json").stdout)
    assert (parked["event"], parked["state"], parked["last"]) == (event, "parked", "answered 410")
    assert "1 events are sent again" in platform.run("webhooks", "redeliver", id_).stdout
    rotated = json.loads(platform.run("webhooks", "rotate", id_, "--keep", "60", "--json").stdout)
    assert [s["until"] is None for s in rotated["secrets"]] == [True, False]
    assert id_ in platform.run("webhooks", "list").stdout
    assert "rollout.paused" in platform.run("webhooks", "status", id_).stdout
    assert platform.run("webhooks", "remove", id_).exit_code == 0
    assert platform.run("webhooks", "status", id_).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (("add", "http://ci.example.com/", "--kinds", "*"), "--private", 1),
        (("add", "https://ci.example.com/", "--kinds", "x"), "no kind of event", 1),
        (("add", "https://ci.example.com/", "--kinds", "*", "--secret-file", "/nowhere"), "can't be read", 2),
        (("redeliver", "wh-none"), "there is no webhook", 1),
    ],
)
def test_what_a_command_cant_do_is_one_line(platform, arguments, said, status):
    ended = platform.run("webhooks", *arguments)
    assert (ended.exit_code, said in ended.stderr, ended.stderr.count("\n")) == (status, True, 1)
