"""A process that dies at any call leaves a commit whole or not begun, and what it told is told in the end."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.adapters.dynamodb import DynamoRegistry
from chalicelib.adapters.dynamodb_spills import LARGEST, SPILLS
from chalicelib.domain.errors import Conflict
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.ports import Write
from tests.aws_tables import Calls, Died, make_table, mocked_client
from tests.fakes import FakeBucket, utc_now
from tests.fakes_pipeline import FakeBus, FakeClock, fake_ports

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE = {"text": "a" * LARGEST}
AFTER = {"text": "b" * LARGEST}


@pytest.fixture(scope="module")
def shared_client():
    with mocked_client() as made:
        yield made


@dataclass
class World:
    """One table, bucket and bus; each process has a registry of its own."""

    client: object
    calls: Calls
    clock: Callable[[], datetime]

    def __post_init__(self):
        self.bucket = FakeBucket(clock=self.clock)
        self.bus = FakeBus()

    def process(self):
        """Return the ports of a process that just began."""
        registry = DynamoRegistry(self.client, "t", self.calls.counted(self.bucket), self.clock)
        return fake_ports(registry=registry, bus=self.calls.counted(self.bus))

    def named_spills(self):
        rows = self.client.scan(TableName="t")["Items"]
        return {row["spill"]["S"] for row in rows if "spill" in row}


@pytest.fixture
def clock():
    return FakeClock(NOW)


@pytest.fixture
def world(shared_client, clock):
    make_table(shared_client, "t")
    with Calls(shared_client) as calls:
        yield World(shared_client, calls, clock)
    shared_client.delete_table(TableName="t")


def told(name, **data):
    return Transition(id=name, kind="k", subject="m/1", at=NOW, message=name, rollout="r", data=data)


def work(ports):
    """Replace a large record and delete another, tell of it, and send what is told; a repeat finds nothing to do."""
    seen = ports.registry.get("k", "a")
    if seen.body != AFTER:
        writes = [Write("k", "a", seen.revision, AFTER), Write("k", "b", 1, None), Write("k", "c", 0, {})]
        ports.registry.commit(writes, [told("large", text="x" * LARGEST), told("small")])
    announce(ports)


def begin(world):
    ports = world.process()
    ports.registry.commit([Write("k", "a", 0, BEFORE), Write("k", "b", 0, {})])
    world.calls.reset()
    return ports


def state(ports):
    return {
        "docs": [(d.id, d.revision, d.body) for d in ports.registry.list("k")],
        "subject": ports.registry.timeline(subject="m/1"),
        "rollout": ports.registry.timeline(rollout="r"),
    }


OLD = {"docs": [("a", 1, BEFORE), ("b", 1, {})], "subject": [], "rollout": []}
NEW = {
    "docs": [("a", 2, AFTER), ("c", 1, {})],
    "subject": [told("large", text="x" * LARGEST), told("small")],
    "rollout": [told("large", text="x" * LARGEST), told("small")],
}


def test_undisturbed_the_work_takes_no_more_calls_than_are_tried_below(world):
    work(begin(world))
    assert 0 < world.calls.made <= len(NUMBERS)


NUMBERS = range(1, 15)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_process_that_dies_at_a_call_leaves_all_or_nothing_and_a_repeat_ends_as_if_undisturbed(
    world, clock, number, when
):
    ports = begin(world)
    world.calls.reset(lambda n, w: (n, w) == (number, when))
    try:
        work(ports)
    except Died:
        world.calls.reset()
        assert state(world.process()) in (OLD, NEW)
        work(world.process())
    world.calls.reset()
    ended = world.process()
    assert state(ended) == NEW
    assert ended.registry.unsent() == []
    sent = [t.id for t in world.bus.published]
    assert sent[:2] == ["large", "small"]
    assert sent[2:] in ([], ["small"], ["large", "small"])  # what it died before marking is sent once more
    clock.tick(hours=2)
    ended.registry.drop_orphans(timedelta(hours=1))
    assert {item.key for item in world.bucket.list(SPILLS)} == world.named_spills()
    assert state(ended) == NEW


def test_many_processes_that_die_at_any_call_lose_nothing_and_tell_nothing_that_didn_t_happen(world):
    """Four writers and two announcers, each dying at one call in twelve and beginning anew until its work is done."""
    world.clock = utc_now  # the order of commits is that of their moments
    begin(world)
    names = [f"{n}-{i}" for n in range(4) for i in range(3)]
    choose = random.Random(1)
    world.calls.reset(lambda number, when: choose.random() < 1 / 24)
    writing = threading.Event()
    writing.set()

    def write(name):
        registry = world.process().registry
        seen = registry.get("k", "b")
        if name not in seen.body.get("names", []):
            body = {"names": [*seen.body.get("names", []), name]}
            registry.commit([Write("k", "b", seen.revision, body)], [told(name)])

    def writer(n):
        for name in names[3 * n : 3 * n + 3]:
            until_done(lambda name=name: write(name))

    def announcer():
        while writing.is_set():
            until_done(lambda: announce(world.process()))

    writers = [threading.Thread(target=writer, args=(n,)) for n in range(4)]
    announcers = [threading.Thread(target=announcer) for _ in range(2)]
    for t in (*writers, *announcers):
        t.start()
    for t in writers:
        t.join()
    writing.clear()
    for t in announcers:
        t.join()
    world.calls.reset()
    announce(world.process())
    kept = world.process().registry
    assert sorted(kept.get("k", "b").body["names"]) == sorted(names)
    assert [t.id for t in kept.timeline(subject="m/1")] == kept.get("k", "b").body["names"]
    assert {t.id for t in world.bus.published} == {*names}
    assert kept.unsent() == []


def until_done(act):
    while True:
        try:
            act()
        except (Died, Conflict):
            continue
        return
