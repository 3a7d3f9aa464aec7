"""Hooks of a deployed stack: called without a key, through what the template makes, on the table that it makes."""

import json

import pytest

from chalicelib.domain.hooks import MEMORY
from chalicelib.domain.rollout import Phase
from tests.aws.aws_world import api_key, endpoint, registry_of, rollouts
from tests.aws.rest_gateway import RestGateway
from tests.fakes_artifacts import HANDLER, small_mar
from tests.hook_calls import SECRET, asks, standard

CI = {"name": "ci", "actions": ["promote", "abort"], "endpoints": ["digits"], "secret": SECRET}
PLAN = b"steps: [50, 100]\nstep_time: 60\n"


def phases(stack):
    return {rollout.ref.version_id: rollout.phase for rollout in rollouts(stack)}


@pytest.fixture
def stack(world):
    """Return a stack whose second version of digits waits for requests, and that has a hook."""
    made = world.stack()
    made.put("digits/1/model.mar", small_mar())
    made.run(lambda: phases(made).get("1") == Phase.PROMOTED)
    made.put("digits/2/model.mar", small_mar(HANDLER + "\n# retrained\n"))
    made.put("digits/2/deploy.yaml", PLAN)
    made.run(lambda: phases(made).get("2") == Phase.STEPPING)
    answer = RestGateway(made).call("POST", "/v1/hooks", CI, key=api_key(made, "admin"))
    assert answer.status == 201
    return made


def called(stack, name, call):
    return RestGateway(stack).call("POST", f"/v1/hooks/{name}", call.body, headers=call.headers)


def audited(capsys):
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"audit"')]
    return [json.loads(line)["audit"] for line in lines]


def test_a_signed_call_promotes_once_and_what_is_not_proven_does_nothing_but_a_line_of_the_log(stack, capsys):
    shown = endpoint(stack, "digits")
    forged = standard(asks("promote"), stack.now, secret="whsec_" + "B" * 43 + "=")
    assert called(stack, "ci", forged).status == called(stack, "nobody", forged).status == 401
    assert [line["outcome"] for line in audited(capsys)] == ["refused", "refused"]
    assert endpoint(stack, "digits") == shown
    call = standard(asks("promote"), stack.now)
    assert called(stack, "ci", call).json["outcome"] == "accepted"
    assert called(stack, "ci", call).json["error"]["code"] == "already_taken"
    assert [(line["outcome"], line["call"]) for line in audited(capsys)] == [
        ("accepted", "msg_1"),
        ("repeated", "msg_1"),
    ]
    stack.run(lambda: phases(stack)["2"] == Phase.PROMOTED)


def test_what_was_taken_expires_by_the_tables_own_clock(stack):
    taken = stack.now
    called(stack, "ci", standard(asks("abort"), taken))
    [row] = stack.client("dynamodb").query(
        TableName=stack.physical("Table"),
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "doc#hook_call"}},
    )["Items"]
    assert abs(int(row["expires"]["N"]) - (taken + MEMORY).timestamp()) < 60
    assert len(registry_of(stack).list("hook_call")) == 1


def test_a_key_that_deploys_makes_no_hooks(stack):
    answer = RestGateway(stack).call("POST", "/v1/hooks", CI, key=api_key(stack, "deploy"))
    assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
