"""Asking a shadow: what is counted, compared and kept, whatever the shadow does."""

import json
from dataclasses import dataclass, field, replace

import pytest

from chalicelib.domain.invocation import Busy, Call, NoAnswer, Reply, TimedOut
from chalicelib.domain.shadow import AGREED, COMPARED, DROPPED, Copy, Shadow, Shadowing
from chalicelib.pipeline.shadow import KEPT, World, ask_shadow, disagreements
from chalicelib.pipeline.sweep import sweep
from tests.fakes import FakeBucket
from tests.fakes_pipeline import FakeClock, FakeInvoker, fake_ports

JSON = "application/json"
HOW = Shadow(keep_disagreements=True)


def copy(id_="id-1", how=HOW):
    call = Call(b'{"instances": [1]}', JSON, "", {})
    return Copy(id_, "digits", Shadowing("v2", "r-1", how), call, Reply(200, b'{"predictions": ["cat"]}', JSON, {}))


def says(answer, status=200, **attributes):
    return Reply(status, json.dumps({"predictions": [answer]}).encode(), JSON, attributes)


@dataclass
class Asked:
    """A shadow v2 and what is counted of it."""

    invoker: FakeInvoker = field(default_factory=FakeInvoker)
    counts: list = field(default_factory=list)
    marks: list = field(default_factory=list)
    store: FakeBucket = field(default_factory=FakeBucket)
    wanted: bool = True

    def ask(self, given):
        seconds = iter(range(100))
        ask_shadow(
            given,
            World(
                invoker=self.invoker,
                count=lambda id_, **said: self.counts.append((id_, said)),
                mark=lambda id_, names: self.marks.extend(names),
                keep=self.store.put,
                takes=lambda _: self.wanted,
                seconds=lambda: next(seconds),
            ),
        )


@pytest.fixture
def world():
    return Asked()


def test_an_answer_is_counted_compared_and_thrown_away(world):
    world.invoker.answers["v2"] = says("cat", nonfinite="0")
    world.ask(copy())
    assert world.counts == [("v2", {"status": 200, "milliseconds": 1000, "nonfinite": False})]
    assert {COMPARED, AGREED} <= set(world.marks)
    assert world.store.list() == []


@pytest.mark.parametrize(("raised", "status"), [(NoAnswer("gone"), 502), (TimedOut("late"), 504)])
def test_no_answer_is_counted_as_one_and_nothing_is_compared(world, raised, status):
    world.invoker.answers["v2"] = raised
    world.ask(copy())
    assert [said["status"] for _, said in world.counts] == [status]
    assert world.marks == []


def test_a_cloud_that_has_no_time_says_nothing_of_the_shadow(world):
    world.invoker.answers["v2"] = Busy("later")
    world.ask(copy())
    assert (world.counts, world.marks) == ([], [DROPPED])


def test_an_answer_that_is_not_finite_is_counted_as_such(world):
    world.invoker.answers["v2"] = says(None, nonfinite="1")
    world.ask(copy())
    assert world.counts[0][1]["nonfinite"] is True


def test_a_copy_that_comes_after_the_end_of_the_shadow_asks_nobody(world):
    world.wanted = False
    world.ask(copy())
    assert world.invoker.calls == []


def test_disagreements_are_a_ring_and_a_request_that_comes_again_has_its_own_place(world):
    world.invoker.answers["v2"] = says("dog")
    for number in range(5 * KEPT):
        world.ask(copy(f"id-{number}"))
        world.ask(copy(f"id-{number}"))
    kept = disagreements("r-1", world.store)
    assert KEPT * 0.8 < len(kept) <= KEPT
    assert kept[0]["why"] == "expected class cat, got dog"
    assert disagreements("r-2", world.store) == []


def test_without_the_wish_nothing_is_kept(world):
    world.invoker.answers["v2"] = says("dog")
    world.ask(copy(how=replace(HOW, keep_disagreements=False)))
    assert world.store.list() == []


def test_bytes_and_long_bodies_are_kept_as_text_of_bounded_length(world):
    world.invoker.answers["v2"] = Reply(200, b"\xff" * 100_000, "image/png", {})
    world.ask(replace(copy(), live=Reply(200, b"\xfe", "image/png", {})))
    [example] = disagreements("r-1", world.store)
    assert example["live"] == "base64:/g=="
    assert len(example["shadow"]) < 40_000


def test_a_sweep_forgets_what_users_sent_a_week_ago():
    clock = FakeClock()
    ports = fake_ports(store=FakeBucket(clock=clock), clock=clock)
    ports.store.put("_disagreements/r-1/00.json", b"{}")
    sweep(ports)
    assert disagreements("r-1", ports.store)
    clock.tick(days=8)
    sweep(ports)
    assert not disagreements("r-1", ports.store)
