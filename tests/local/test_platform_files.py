"""What the platform writes into its home for those who use it: the connection file and the events."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.transition import Transition
from chalicelib.local.bus import LocalBus
from chalicelib.local.connection_file import make_connection
from chalicelib.local.home import Home
from chalicelib.local.options import UpOptions
from chalicelib.local.platform import default_plan
from chalicelib.pipeline.keys import list_keys, revoke
from tests.fakes_registry import FakeRegistry

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").make()


def connect(home, registry):
    make_connection(home, registry, lambda: NOW, url="https://localhost:1", ca=home.ca / "ca.pem")
    return json.loads(home.connection.read_text())


def test_the_connection_file_is_for_its_owner_alone_and_holds_an_admin_key(home):
    registry = FakeRegistry()
    assert connect(home, registry)["key"].startswith("md_")
    assert home.connection.stat().st_mode & 0o777 == 0o600
    assert list_keys(registry)[0].scopes == ("admin",)


def test_a_restart_keeps_the_key_and_a_revoked_or_damaged_one_is_replaced(home):
    registry = FakeRegistry()
    first = connect(home, registry)["key"]
    assert connect(home, registry)["key"] == first
    revoke(registry, lambda: NOW, list_keys(registry)[0].id)
    second = connect(home, registry)["key"]
    assert second != first
    home.connection.write_text("{")
    assert connect(home, registry)["key"] not in {first, second}


def test_every_transition_is_kept_as_a_line_and_shown(home):
    shown = []
    bus = LocalBus(home.events, shown.append)
    told = [Transition(f"t{n}", "rollout.opened", "digits", NOW, f"number {n}") for n in range(2)]
    bus.publish(told)
    bus.publish(told[:1])
    lines = [json.loads(line) for line in home.events.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["t0", "t1", "t0"]
    assert "rollout.opened" in shown[0]
    assert "digits: number 0" in shown[0]


def test_what_up_was_told_is_the_plan_of_drops_that_say_nothing():
    asked = UpOptions(steps=(10, 100), step_time=timedelta(seconds=3), min_requests=7, keep_warm=timedelta(0))
    plan = default_plan(asked)
    assert (plan.steps, plan.step_time, plan.keep_warm) == ((10, 100), timedelta(seconds=3), timedelta(0))
    assert plan.thresholds.min_requests == 7
    assert default_plan(UpOptions()).steps == (5, 25, 50, 100)
