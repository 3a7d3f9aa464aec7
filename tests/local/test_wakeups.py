"""Wake-ups in memory: each name is answered when it is due, never twice at once, and again after a failure."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.errors import Conflict
from chalicelib.local.wakeups import Wakeups
from tests.platform_world import until


def now():
    return datetime.now(UTC)


class Answers:
    """Keeps what was answered; `act` may raise or wait."""

    def __init__(self):
        self.names = []
        self.act = lambda name: None

    def __call__(self, name):
        self.names.append(name)
        self.act(name)


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def wakeups(answers):
    started = Wakeups(answers)
    started.start()
    yield started
    started.stop()


def test_a_name_is_answered_once_it_is_due(wakeups, answers):
    wakeups.set("later", now() + timedelta(hours=1))
    wakeups.set("now", now())
    until(lambda: answers.names, 10, "an answer")
    assert answers.names == ["now"]


def test_of_two_moments_for_one_name_the_earlier_counts_and_it_is_answered_once(wakeups, answers):
    wakeups.set("a", now() + timedelta(hours=1))
    wakeups.set("a", now() + timedelta(seconds=0.2))
    wakeups.set("a", now() + timedelta(hours=2))
    until(lambda: answers.names, 10, "an answer")
    wakeups.set("b", now() + timedelta(seconds=0.2))
    until(lambda: "b" in answers.names, 10, "the other")
    assert answers.names == ["a", "b"]


def test_one_name_is_never_answered_twice_at_once_but_again_afterwards(wakeups, answers):
    inside, most, gate = [], [], threading.Event()

    def act(name):
        inside.append(name)
        most.append(len(inside))
        gate.wait(10)
        inside.remove(name)

    answers.act = act
    for _ in range(5):
        wakeups.set("a", now())
        until(lambda: answers.names, 10, "the first answer")
    wakeups.set("a", now())
    gate.set()
    until(lambda: len(answers.names) >= 2, 10, "the second answer")
    assert max(most) == 1


def test_different_names_are_answered_side_by_side(wakeups, answers):
    both = threading.Barrier(2, timeout=10)
    answers.act = lambda name: both.wait()
    wakeups.set("a", now())
    wakeups.set("b", now())
    until(lambda: sorted(answers.names) == ["a", "b"], 10, "both")


def test_answers_that_take_long_hold_up_no_others(answers):
    gate = threading.Event()
    answers.act = lambda name: gate.wait(20) if name.startswith("long") else None
    wakeups = Wakeups(answers, is_long=lambda name: name.startswith("long"))
    wakeups.start()
    for n in range(20):
        wakeups.set(f"long{n}", now())
    until(lambda: answers.names, 10, "the first long one")
    wakeups.set("short", now())
    until(lambda: "short" in answers.names, 10, "the short one")
    assert not gate.is_set()
    gate.set()
    wakeups.stop()


def test_a_lost_race_is_answered_again_at_once_and_a_bug_a_little_later(wakeups, answers, caplog):
    def fail_once(name):
        if answers.names.count(name) == 1:
            raise Conflict("somebody was first") if name == "race" else ValueError("a bug")

    answers.act = fail_once
    wakeups.set("race", now())
    wakeups.set("bug", now())
    until(lambda: sorted(answers.names) == ["bug", "bug", "race", "race"], 20, "both again")
    assert "bug failed" in caplog.text
    assert "race failed" not in caplog.text


def test_stopping_waits_for_what_is_being_answered_and_answers_nothing_more(answers):
    wakeups = Wakeups(answers)
    wakeups.start()
    done = []

    def act(name):
        time.sleep(0.3)
        done.append(name)

    answers.act = act
    wakeups.set("a", now())
    until(lambda: answers.names, 10, "begun")
    wakeups.set("b", now() + timedelta(seconds=0.1))
    wakeups.stop()
    assert done == ["a"]
