"""What SchedulerTimers asks of AWS: one-shot schedules that end by themselves, and no timer lost to a race."""

import json
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.adapters.scheduler import NoQueue, schedule_names
from chalicelib.domain.errors import Conflict
from tests.scheduler_world import GROUP, QUEUES, ROLE, SchedulerWorld, moment

MINUTE = timedelta(minutes=1)
NAME = "advance:digits"
FIRST, SECOND = schedule_names(NAME)


@pytest.fixture
def world():
    with mock_aws():
        yield SchedulerWorld()


class Before:
    """A client of which calls of one operation are preceded by something that others do, once."""

    def __init__(self, client, operation, act):
        self._client, self._operation, self._act = client, operation, act

    def __getattr__(self, operation):
        call = getattr(self._client, operation)
        if operation == self._operation and self._act:
            act, self._act = self._act, None
            act()
        return call


def refuse(code, operation):
    def call(**_):
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    return call


class Refusing:
    """A client whose named operations are refused with these codes."""

    def __init__(self, client, **codes):
        self._client, self._codes = client, codes

    def __getattr__(self, operation):
        code = self._codes.get(operation)
        return refuse(code, operation) if code else getattr(self._client, operation)


def unwanted():
    raise AssertionError("this client needn't be made")


def test_a_schedule_fires_once_at_its_second_sends_the_wake_up_and_ends_by_itself(world):
    world.timers.set(NAME, world.clock.now + 5 * MINUTE + timedelta(milliseconds=1))
    schedule = world.schedules()[FIRST]
    assert moment(schedule) == world.clock.now + 5 * MINUTE + timedelta(seconds=1)
    assert schedule["ScheduleExpression"] == "at(2026-01-01T00:05:01)"
    assert schedule["ActionAfterCompletion"] == "DELETE"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = schedule["Target"]
    assert (target["Arn"], target["RoleArn"]) == (world.queues["advance:"].arn, ROLE)
    assert json.loads(target["Input"]) == {"wake_up": NAME}
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 3600
    assert "DeadLetterConfig" not in target


def test_no_schedule_is_so_near_that_it_could_be_past_when_it_is_asked_for(world):
    world.timers.set(NAME, world.clock.now + timedelta(seconds=2))
    assert moment(world.schedules()[FIRST]) == world.clock.now + timedelta(seconds=5)


def test_what_a_schedule_can_not_deliver_goes_to_the_dead_letter_queue_if_there_is_one(world):
    arn = "arn:aws:sqs:eu-west-1:123456789012:rollouts-dead"
    world.make_timers(dead_letter_arn=arn).set(NAME, world.clock.now + MINUTE)
    assert world.schedules()[FIRST]["Target"]["DeadLetterConfig"] == {"Arn": arn}


@pytest.mark.parametrize(("kind", "queue"), QUEUES.items())
@pytest.mark.parametrize("after", [timedelta(0), MINUTE])
def test_each_kind_of_wake_up_goes_to_its_queue(world, kind, queue, after):
    world.timers.set(kind + "m/1", world.clock.now + after)
    world.clock.tick(minutes=1)
    world.fire()
    assert [(name, said) for k, name in QUEUES.items() if (said := world.received(k))] == [(queue, [kind + "m/1"])]


def test_a_kind_without_a_queue_is_a_clear_error_and_nothing_is_sent(world):
    timers = world.make_timers(queues={}, sqs=unwanted, scheduler=unwanted)
    with pytest.raises(NoQueue, match=r"'advance:digits'.*no queue for 'advance:'"):
        timers.set(NAME, world.clock.now)


@pytest.mark.parametrize(("after", "spared"), [(timedelta(seconds=1), "scheduler"), (timedelta(seconds=2), "sqs")])
def test_only_the_client_that_is_needed_is_made(world, after, spared):
    world.make_timers(**{spared: unwanted}).set(NAME, world.clock.now + after)


def test_a_later_moment_moves_nothing_and_an_earlier_one_moves_the_schedule_that_is_there(world):
    world.timers.set(NAME, world.clock.now + 5 * MINUTE)
    world.timers.set(NAME, world.clock.now + 9 * MINUTE)
    assert moment(world.schedules()[FIRST]) == world.clock.now + 5 * MINUTE
    world.timers.set(NAME, world.clock.now + 2 * MINUTE)
    assert list(world.schedules()) == [FIRST]
    moved = world.schedules()[FIRST]
    assert moment(moved) == world.clock.now + 2 * MINUTE
    assert json.loads(moved["Target"]["Input"]) == {"wake_up": NAME}
    assert moved["ActionAfterCompletion"] == "DELETE"


def test_a_schedule_that_may_be_firing_is_left_alone(world):
    world.timers.set(NAME, world.clock.now + MINUTE)
    world.clock.tick(minutes=1, seconds=10)
    world.timers.set(NAME, world.clock.now + MINUTE)
    moments = {name: moment(schedule) - world.clock.now for name, schedule in world.schedules().items()}
    assert moments == {FIRST: timedelta(seconds=-10), SECOND: MINUTE}
    world.fire()
    assert world.received("advance:") == [NAME]


def test_when_no_schedule_that_fired_was_deleted_yet_one_of_them_is_used_again(world):
    for _ in range(3):
        world.timers.set(NAME, world.clock.now + MINUTE)
        world.clock.tick(minutes=1)
        world.fire()
    world.timers.set(NAME, world.clock.now + MINUTE)
    assert sorted(world.schedules()) == [FIRST, SECOND]
    assert [at for at in map(moment, world.schedules().values()) if at > world.clock.now] == [world.clock.now + MINUTE]


@pytest.mark.parametrize("operation", ["get_schedule", "update_schedule"])
def test_a_schedule_that_is_deleted_under_our_hands_is_made_anew(world, operation):
    world.timers.set(NAME, world.clock.now + 9 * MINUTE)

    def delete():
        world.scheduler.delete_schedule(Name=FIRST, GroupName=GROUP)

    raced = Before(world.scheduler, operation, delete)
    world.make_timers(scheduler=lambda: raced).set(NAME, world.clock.now + MINUTE)
    assert [moment(s) - world.clock.now for s in world.schedules().values()] == [MINUTE]


def test_what_never_stands_still_is_set_again_by_its_caller(world):
    refusing = Refusing(
        world.scheduler,
        create_schedule="ConflictException",
        get_schedule="ResourceNotFoundException",
    )
    with pytest.raises(Conflict, match="advance:digits"):
        world.make_timers(scheduler=lambda: refusing).set(NAME, world.clock.now + MINUTE)


@pytest.mark.parametrize("operation", ["create_schedule", "get_schedule", "update_schedule"])
@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "ServiceQuotaExceededException"])
def test_what_aws_refuses_is_raised_as_it_is(world, operation, code):
    world.timers.set(NAME, world.clock.now + 9 * MINUTE)
    refusing = Refusing(world.scheduler, **{operation: code})
    with pytest.raises(ClientError, match=code):
        world.make_timers(scheduler=lambda: refusing).set(NAME, world.clock.now + MINUTE)


@given(st.text(), st.text())
def test_names_of_schedules_are_legal_and_apart(one, other):
    names = {*schedule_names(one), *schedule_names(other)}
    assert len(names) == (2 if one == other else 4)
    assert all(0 < len(name) <= 64 and set(name) <= LEGAL for name in names)


def test_a_schedules_name_can_be_read_and_is_always_the_same():
    assert schedule_names("look:digits/v1/") == schedule_names("look:digits/v1/")
    assert schedule_names("look:digits/v1/")[0].startswith("look-digits-v1-")


LEGAL = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
