"""One suite for all timers: in memory, one machine's wake-ups, and SQS with EventBridge Scheduler."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from moto import mock_aws

from chalicelib.local.wakeups import Wakeups
from tests.fakes_pipeline import FakeClock, FakeTimers
from tests.scheduler_world import SchedulerWorld, moment
from tests.stores import eventually

HOUR = timedelta(hours=1)
NAMES = ["look:m/1/", "look:a b+ü%2F/<aws.scheduler.schedule-arn>/", "look:" + "x" * 1000, "advance:digits"]


class InMemory:
    """Names that are due stay with the fake until they are taken."""

    soon = timedelta(minutes=1)

    def __init__(self):
        self.now = FakeClock()
        self.timers = FakeTimers()

    def close(self): ...

    def pending(self):
        return {name: at for name, at in self.timers.due.items() if at > self.now()}

    def wakes(self, name):
        """Let time pass if need be; tell whether the name is woken, and forget that it was."""
        self.now.now = max(self.now(), self.timers.due.get(name, self.now()))
        return self.timers.due.pop(name, None) is not None


class OneMachine:
    """The clock is the real one."""

    soon = timedelta(seconds=0.2)

    def __init__(self):
        self.woken = []
        self.timers = Wakeups(self.woken.append)
        self._started = False

    def now(self):
        return datetime.now(UTC)

    def close(self):
        self.timers.stop()

    def start(self):
        """Let the threads run: only now, so that what is due stays until a test asks for it."""
        if not self._started:
            self.timers.start()
        self._started = True

    def pending(self):
        return dict(self.timers._due)

    def wakes(self, name):
        self.start()
        woken = eventually(lambda: name in self.woken)
        self.woken.clear()
        return woken


class OnAws:
    """moto keeps schedules and fires none, so the world does; they stay when they have fired."""

    soon = timedelta(minutes=1)

    def __init__(self):
        self.aws = mock_aws()
        self.aws.start()
        self.world = SchedulerWorld()
        self.now, self.timers = self.world.clock, self.world.timers

    def close(self):
        self.aws.stop()

    def pending(self):
        schedules = [(json.loads(s["Target"]["Input"])["wake_up"], moment(s)) for s in self.world.schedules().values()]
        return {name: at for name, at in schedules if at > self.now()}

    def wakes(self, name):
        kind = name[: name.index(":") + 1]
        if at_once := self.world.received(kind):
            return at_once == [name]
        self.now.now = self.pending().get(name, self.now())
        self.world.fire()
        return self.world.received(kind) == [name]


@pytest.fixture(params=[InMemory, OneMachine, OnAws])
def world(request):
    with closing(request.param()) as made:
        yield made


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(seconds=1), HOUR])
def test_a_moment_that_is_here_or_past_wakes_at_once(world, ago):
    world.timers.set("look:m/1/", world.now() - ago)
    assert all(at <= world.now() for at in world.pending().values())
    assert world.wakes("look:m/1/")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_kept_until_its_moment_and_then_woken_as_it_was(world, name):
    at = world.now() + world.soon
    world.timers.set(name, at)
    assert world.wakes(name)
    assert world.now() >= at


def test_a_later_moment_is_kept_to_the_second_and_never_before(world):
    at = world.now() + HOUR + timedelta(milliseconds=1)
    world.timers.set("look:m/1/", at)
    assert timedelta(0) <= world.pending()["look:m/1/"] - at < timedelta(seconds=1)


@pytest.mark.parametrize("hours", [(1, 2), (2, 1), (3, 1, 2), (1, 1)])
def test_of_many_moments_of_one_name_the_earliest_counts(world, hours):
    start = world.now().replace(microsecond=0)
    for each in hours:
        world.timers.set("look:m/1/", start + each * HOUR)
    assert world.pending() == {"look:m/1/": start + HOUR}


def test_each_name_has_a_timer_of_its_own(world):
    start = world.now().replace(microsecond=0)
    for hours, name in enumerate(NAMES, 1):
        world.timers.set(name, start + hours * HOUR)
    assert world.pending() == {name: start + hours * HOUR for hours, name in enumerate(NAMES, 1)}


def test_a_name_that_was_woken_can_be_set_again_and_again(world):
    for _ in range(4):
        world.timers.set("advance:digits", world.now() + world.soon)
        assert world.wakes("advance:digits")
    assert world.pending() == {}


def test_a_name_is_woken_at_once_although_it_was_to_be_woken_later(world):
    world.timers.set("look:m/1/", world.now() + HOUR)
    world.timers.set("look:m/1/", world.now())
    assert world.wakes("look:m/1/")


def test_a_wake_up_that_is_due_is_not_put_off_by_a_later_one(world):
    world.timers.set("look:m/1/", world.now())
    world.timers.set("look:m/1/", world.now() + HOUR)
    before = world.now()
    assert world.wakes("look:m/1/")
    assert world.now() < before + HOUR
