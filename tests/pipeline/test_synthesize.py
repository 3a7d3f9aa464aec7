"""Synthetic requests through the pipeline: where they come from, asked of both sides in slices, once a step."""

import json

import pytest

from chalicelib.domain.invocation import Busy, NoAnswer, Reply
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Hold, RollBack, Rollout, Shift, Synthesize
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.tend import tend
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, FakeInvoker, fake_ports, settle
from tests.validation.byhand import meta_graph, saved_model

V1, V2 = (VersionRef("digits", v) for v in ("v1", "v2"))
FINE = Reply(200, b'{"predictions": [1]}', "application/json", {})
MAR = {"model.mar": small_mar()}


@pytest.fixture
def ports():
    clock = FakeClock()
    buckets = {"drop": FakeBucket(clock=clock), "store": FakeBucket(clock=clock)}
    return fake_ports(**buckets, clock=clock, invoker=FakeInvoker(otherwise=FINE))


def drop(ports, ref, **files):
    for path, body in {**MAR, **{name.replace("__", "."): body for name, body in files.items()}}.items():
        ports.drop.put(f"{ref.prefix}{path}", body)
    ports.clock.tick(seconds=30)
    settle(ref.prefix, ports)


def go(ports, turns=1):
    action = None
    for _ in range(turns):
        action = advance("digits", ports)
        tend("digits", ports)
    return action


def rollout(ports, ref=V2):
    return next(r.value for r in Records(ports.registry).list(Rollout) if r.value.ref == ref)


def silent_step(ports, **files):
    """Bring a second version to a step that has used up its extensions without a request."""
    drop(ports, V1)
    go(ports, 2)
    drop(ports, V2, **files)
    while rollout(ports).extensions < 3:
        go(ports)
        ports.clock.tick(seconds=61)
    ports.clock.tick(seconds=61)
    ports.invoker.calls.clear()


def asked(ports):
    """Return the requests by side, as JSON."""
    sides = {rollout(ports).canary.id: "canary", rollout(ports).stable: "stable"}
    found = {"canary": [], "stable": []}
    for id_, call, _ in ports.invoker.calls:
        found[sides[id_]].append(json.loads(call.body))
    return found


def test_both_sides_are_asked_the_same_lines_of_warmup_jsonl_and_nothing_is_promoted(ports):
    silent_step(ports, warmup__jsonl=b"1\n2\n")
    assert isinstance(go(ports), Synthesize)
    sides = asked(ports)
    assert sides["canary"] == sides["stable"]
    assert len(sides["canary"]) == 60
    assert sides["canary"][:3] == [{"instances": [1]}, {"instances": [2]}, {"instances": [1]}]
    held = go(ports)
    assert isinstance(held, Hold)
    assert "of 60 synthetic requests to each side (warmup.jsonl)" in held.reason
    told = [t for t in ports.registry.timeline(rollout=rollout(ports).id) if t.kind == "rollout.synthesized"]
    assert [t.data["requests"] for t in told] == [60]


def test_a_canary_that_fails_them_goes_back_where_stable_does_not(ports):
    silent_step(ports, warmup__jsonl=b"1\n")
    ports.invoker.answers[rollout(ports).canary.id] = NoAnswer("it hung up")
    go(ports)
    went = go(ports)
    assert isinstance(went, RollBack)
    assert "canary 60 errors in 60 requests, stable 0 in 60" in went.reason


def test_a_drop_may_let_them_pass_a_step(ports):
    silent_step(ports, warmup__jsonl=b"1\n", deploy__yaml=b"synthetic: judge\n")
    go(ports)
    assert isinstance(go(ports), Shift)
    assert rollout(ports).synthetic.asked == 0  # the next step has its own


def test_they_are_asked_in_slices_and_none_twice(ports):
    silent_step(ports, warmup__jsonl=b"1\n")
    ports.invoker.otherwise = lambda call: ports.clock.tick(seconds=0.05) or FINE
    turns = 0
    while isinstance(go(ports), Synthesize):
        turns += 1
    assert turns == 3  # of 2 seconds each
    assert len(ports.invoker.calls) == 120


def test_a_busy_cloud_says_nothing_of_either_side(ports):
    silent_step(ports, warmup__jsonl=b"1\n")
    ports.invoker.otherwise = Busy("later")
    before = rollout(ports)
    assert isinstance(go(ports), Synthesize)
    assert rollout(ports) == before


def test_without_a_file_or_a_schema_the_policy_follows_at_once(ports):
    silent_step(ports)
    assert isinstance(go(ports), Hold)
    assert ports.invoker.calls == []


def test_a_saved_model_is_asked_what_its_schema_describes(ports):
    for ref in (V1, V2):
        ports.drop.put(f"{ref.prefix}saved_model.pb", saved_model(meta_graph()))
        ports.drop.put(f"{ref.prefix}README", str(ref).encode())
        ports.clock.tick(seconds=30)
        settle(ref.prefix, ports)
        go(ports, 2)
    while rollout(ports).extensions < 3:
        go(ports)
        ports.clock.tick(seconds=61)
    ports.clock.tick(seconds=61)
    schema = Records(ports.registry).version(V2).value.schema
    assert isinstance(go(ports), Synthesize)
    assert rollout(ports).synthetic.origin == "schema", schema
    assert len(asked(ports)["canary"]) == 60


def test_requests_that_only_another_contract_takes_are_none(ports):
    v2 = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    silent_step(ports, warmup__jsonl=json.dumps(v2).encode())
    go(ports)
    held = go(ports)
    assert "warmup.jsonl has no request to make them from" in held.reason
