"""A canary is examined on its golden.jsonl before any traffic: in slices, once, and its failure ends the rollout."""

import json
from datetime import timedelta

import pytest

from chalicelib.domain.invocation import Busy, NoAnswer, Reply
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Examine, Fail, Hold, Phase, Promote, Rollout, Shift
from chalicelib.pipeline import manage, views
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.tend import tend
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, FakeInvoker, fake_ports, settle

V1, V2 = (VersionRef("digits", v) for v in ("v1", "v2"))
RIGHT = [{"instance": n, "expected": 2 * n} for n in range(4)]


def doubles(call):
    body = json.loads(call.body)
    return Reply(200, json.dumps({"predictions": [2 * n for n in body["instances"]]}).encode(), "application/json", {})


@pytest.fixture
def ports():
    clock = FakeClock()
    buckets = {"drop": FakeBucket(clock=clock), "store": FakeBucket(clock=clock)}
    return fake_ports(**buckets, clock=clock, invoker=FakeInvoker(otherwise=doubles))


def drop(ports, ref, golden):
    ports.drop.put(f"{ref.prefix}model.mar", small_mar())
    ports.drop.put(f"{ref.prefix}golden.jsonl", "\n".join(map(json.dumps, golden)).encode())
    ports.clock.tick(seconds=30)
    settle(ref.prefix, ports)


def go(ports):
    action = advance("digits", ports)
    tend("digits", ports)
    return action


def rollout(ports, ref):
    return next(r.value for r in Records(ports.registry).list(Rollout) if r.value.ref == ref)


def kinds(ports, ref):
    return [t.kind for t in ports.registry.timeline(rollout=rollout(ports, ref).id)]


def test_a_canary_that_answers_right_goes_on_and_the_result_is_told(ports):
    drop(ports, V1, RIGHT)
    assert [type(go(ports)).__name__ for _ in range(3)] == ["Start", "Examine", "Promote"]
    assert kinds(ports, V1) == ["rollout.opened", "rollout.examined", "rollout.promoted"]
    shown = views.rollout(rollout(ports, V1).id, ports)
    assert shown["exam"]["result"] == "4 lines answered"
    assert shown["timeline"][1]["data"]["lines"] == 4
    assert shown["timeline"][1]["data"]["passed"] is True


def test_each_line_is_asked_of_the_canary_itself_in_the_contract_that_it_is_written_in(ports):
    drop(ports, V1, [{"instance": 1, "expected": 2}, {"request": {"a": 1}}])
    ports.invoker.otherwise = Reply(200, b'{"predictions": [2]}', "application/json", {})
    for _ in range(3):
        go(ports)
    canary = rollout(ports, V1).canary.id
    asked = [(id_, json.loads(call.body), call.attributes.get("contract")) for id_, call, _ in ports.invoker.calls]
    assert asked == [(canary, {"instances": [1]}, "instances"), (canary, {"a": 1}, None)]


def test_one_that_answers_wrong_never_has_traffic_and_the_reason_says_the_lines(ports):
    drop(ports, V1, RIGHT)
    for _ in range(3):
        go(ports)
    drop(ports, V2, [*RIGHT, {"instance": 1, "expected": 3}])
    done = [go(ports) for _ in range(3)]
    assert isinstance(done[-1], Fail)
    ended = rollout(ports, V2)
    assert ended.phase is Phase.FAILED
    assert ended.reason == "golden.jsonl: 1 of 5 lines missed; line 5: expected 3, got 2 (off by 1, allowed 0.0003)"
    assert "rollout.shifted" not in kinds(ports, V2)
    assert not Records(ports.registry).version(V2).value.unservable


def test_a_long_file_is_asked_in_slices_and_no_line_twice(ports):
    drop(ports, V1, RIGHT)
    ports.invoker.otherwise = lambda call: ports.clock.tick(seconds=1.5) or doubles(call)
    assert [type(go(ports)).__name__ for _ in range(4)] == ["Start", "Examine", "Examine", "Promote"]
    assert len(ports.invoker.calls) == 4


def test_a_wake_up_after_a_slice_comes_at_once(ports):
    drop(ports, V1, RIGHT)
    go(ports)
    ports.timers.due.clear()
    assert isinstance(go(ports), Examine)
    assert ports.timers.due["advance:digits"] == ports.clock()


def test_a_canary_without_a_file_is_not_asked(ports):
    ports.drop.put(f"{V1.prefix}model.mar", small_mar())
    ports.clock.tick(seconds=30)
    settle(V1.prefix, ports)
    assert [type(go(ports)).__name__ for _ in range(2)] == ["Start", "Promote"]
    assert ports.invoker.calls == []


def test_no_answer_is_a_missed_line_but_a_cloud_that_is_busy_says_nothing_of_the_model(ports):
    drop(ports, V1, RIGHT)
    go(ports)
    ports.invoker.otherwise = Busy("later")
    before = rollout(ports, V1)
    assert isinstance(go(ports), Examine)
    assert rollout(ports, V1) == before
    ports.invoker.otherwise = NoAnswer("gone")
    go(ports)
    assert isinstance(go(ports), Fail)
    assert "4 of 4 lines missed; line 1: gone" in rollout(ports, V1).reason


def test_a_paused_rollout_is_examined_and_then_waits(ports):
    drop(ports, V1, RIGHT)
    go(ports)
    manage.pause("digits", ports)
    assert isinstance(go(ports), Examine)
    assert isinstance(go(ports), Hold)
    manage.resume("digits", ports)
    assert isinstance(go(ports), Promote)


def test_a_person_may_promote_without_it(ports):
    drop(ports, V1, RIGHT)
    go(ports)
    manage.promote("digits", ports)
    assert isinstance(go(ports), Promote)
    assert ports.invoker.calls == []


def test_a_version_of_before_its_file_was_read_ends_with_what_is_wrong_with_it(ports):
    drop(ports, V1, RIGHT)
    prefix = rollout(ports, V1).canary.store_prefix
    ports.store.put(f"{prefix}golden.jsonl", b"{")
    for _ in range(3):
        go(ports)
    assert rollout(ports, V1).reason.startswith("golden.jsonl: line 1: it is no JSON")


def test_a_wrong_file_rejects_the_upload_with_the_line(ports):
    drop(ports, V1, [{"instance": 1}, {"instance": 1, "expect": 2}])
    [shown] = views.drops(ports)
    [finding] = shown["findings"]
    assert (finding["code"], finding["where"]) == ("bad_golden", "golden.jsonl")
    assert "line 2" in finding["message"]


def test_a_slice_of_no_time_still_asks_one_line(ports):
    slow = fake_ports(**{**vars(ports), "slice": timedelta(0)})
    drop(slow, V1, RIGHT)
    assert [type(go(slow)).__name__ for _ in range(6)] == ["Start", *["Examine"] * 4, "Promote"]


def test_stepping_is_not_examined_again(ports):
    drop(ports, V1, RIGHT)
    for _ in range(3):
        go(ports)
    drop(ports, V2, RIGHT)
    assert [type(go(ports)).__name__ for _ in range(3)] == ["Start", "Examine", "Shift"]
    assert isinstance(go(ports), Hold)
    assert not isinstance(go(ports), Shift)
    assert len(ports.invoker.calls) == 12  # of the second version's, stable was asked, too


def test_stable_is_asked_the_same_and_a_canary_that_answers_in_another_form_is_ended(ports):
    twelve = [{"instance": n} for n in range(12)]
    drop(ports, V1, twelve)
    for _ in range(3):
        go(ports)
    stable = rollout(ports, V1).canary.id
    ports.invoker.answers[stable] = Reply(200, b'{"predictions": [[1, 2, 3]]}', "application/json", {})
    ports.invoker.otherwise = Reply(200, b'{"predictions": [[1, 2]]}', "application/json", {})
    drop(ports, V2, twelve)
    done = [go(ports) for _ in range(3)]
    assert isinstance(done[-1], Fail)
    assert rollout(ports, V2).reason == (
        "golden.jsonl: 12 of 12 answers are built unlike stable's to the same requests: "
        "{predictions: n * [2 * number]} instead of {predictions: n * [3 * number]}"
    )


def test_a_stable_that_does_not_answer_is_no_reason_to_end_the_canary(ports):
    drop(ports, V1, RIGHT)
    for _ in range(3):
        go(ports)
    ports.invoker.answers[rollout(ports, V1).canary.id] = NoAnswer("restarting")
    drop(ports, V2, RIGHT)
    assert [type(go(ports)).__name__ for _ in range(3)] == ["Start", "Examine", "Shift"]
