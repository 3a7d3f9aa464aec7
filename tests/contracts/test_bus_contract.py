"""One suite for every bus: in memory, one machine's file, and a custom bus of EventBridge that a queue listens to."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from moto import mock_aws

from chalicelib.domain.transition import Transition
from chalicelib.local.bus import LocalBus
from chalicelib.pipeline.records import to_json
from tests.eventbridge_world import BusWorld
from tests.fakes_pipeline import FakeBus

NOW = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def told(number, kind="rollout.shifted", **changes):
    """Return one transition with everything that one may have."""
    given = {
        "id": f"{number:024x}",
        "kind": kind,
        "subject": "digits",
        "at": NOW + timedelta(seconds=number),
        "message": f"step {number}: 5 % → 25 %, “ü”",
        "rollout": "digits-1",
        "data": {"split": {"a": 75, "b": 25}, "p": [0.5, None, True]},
    }
    return Transition(**given | changes)


class InMemory:
    def __init__(self, _):
        self.bus = FakeBus()

    def close(self): ...

    def heard(self):
        return [to_json(t) for t in self.bus.published]


class OneMachine:
    def __init__(self, folder):
        self.file = folder / "events.jsonl"
        self.bus = LocalBus(self.file, lambda line: None)

    def close(self): ...

    def heard(self):
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []


class OnAws:
    def __init__(self, _):
        self.aws = mock_aws()
        self.aws.start()
        self.world = BusWorld()
        self.bus = self.world.bus

    def close(self):
        self.aws.stop()

    def heard(self):
        return [event["detail"] for event in self.world.heard()]


@pytest.fixture(params=[InMemory, OneMachine, OnAws])
def world(request, tmp_path):
    with closing(request.param(tmp_path)) as made:
        yield made


def test_a_transition_is_told_whole(world):
    world.bus.publish([told(1)])
    assert world.heard() == [to_json(told(1))]


def test_a_transition_that_has_only_what_it_must_is_told_too(world):
    least = Transition("1", "version.registered", "m/1", NOW, "")
    world.bus.publish([least])
    assert world.heard() == [to_json(least)]


def test_nothing_is_told_of_nothing(world):
    world.bus.publish([])
    assert world.heard() == []


def test_many_are_told_each_once(world):
    many = [told(number) for number in range(25)]
    world.bus.publish(many)
    assert sorted(world.heard(), key=lambda event: event["at"]) == [to_json(t) for t in many]


def test_what_is_told_again_has_the_same_id(world):
    world.bus.publish([told(1)])
    world.bus.publish([told(1)])
    assert [event["id"] for event in world.heard()] == [told(1).id] * 2
