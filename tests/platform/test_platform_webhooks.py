"""Webhooks of a real platform: every event arrives, across a kill -9 too, and no receiver delays a rollout."""

from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest

from chalicelib.local.webhooks.post import TIMEOUT
from tests.event_check import check_document
from tests.fakes_artifacts import small_mar
from tests.platform_world import Load, PlatformProcess, until
from tests.receivers import Receiver

pytestmark = pytest.mark.alone

PACE = ("--step-time", "1", "--min-requests", "10", "--quiet-period", "0.3", "--steps", "30,100")


@pytest.fixture
def running(tmp_path):
    started = PlatformProcess(tmp_path / "home", *PACE, store="embedded").start()
    yield started
    if started.process.poll() is None:
        started.kill()


@pytest.fixture
def receivers():
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(Receiver(**how).serving())


def add(running, receiver, *more):
    done = running.cli("webhooks", "add", receiver.url, "--private", "--kinds", "*", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_rollout_is_told_to_a_webhook_while_others_hang_fail_and_redirect(running, receivers):
    good, hanging, broken, moved = (
        receivers(),
        receivers(hangs=True),
        receivers(status=500),
        receivers(status=301, headers={"Location": "http://169.254.169.254/"}),
    )
    _, secret = add(running, good)
    for bad in (hanging, broken, moved):
        add(running, bad)
    running.drop("m/v1/", {"model.mar": small_mar()})
    running.await_phase("m", "v1", "promoted")
    with Load(running, "m", per_second=40):
        running.drop("m/v2/", {"model.mar": small_mar(), "README.md": b"second"})
        running.await_phase("m", "v2", "promoted")
    until(lambda: good.kinds.count("rollout.promoted") == 2, 10, "the events")
    told = running.events()
    for line in told:
        check_document(line)
    assert {e["id"]: e for e in (r.event for r in good.received)} == {e["id"]: e for e in told}
    assert all(r.is_signed_with(secret) for r in good.received)
    assert len(hanging.received) >= 1
    assert len(broken.received) >= 2
    [shifted], [_, promoted] = (by_kind(told, kind) for kind in ("rollout.shifted", "rollout.promoted"))
    assert at(promoted) - at(shifted) < timedelta(seconds=TIMEOUT), "it waited for a receiver that hangs"
    assert promoted["data"]["judgement"]["numbers"]["canary_requests"] >= 10


def by_kind(events, kind):
    return [event for event in events if event["kind"] == kind]


def at(event):
    return datetime.fromisoformat(event["at"])


def test_a_kill_while_receivers_are_down_loses_no_event(running, receivers):
    later = Receiver()
    with later.serving():
        pass
    webhook, _ = add(running, later)
    running.drop("m/v1/", {"model.mar": small_mar()})
    running.await_phase("m", "v1", "promoted")
    until(lambda: "rollout.promoted" in [e["kind"] for e in running.events()], 10, "the line")
    running.kill()
    with later.serving():
        running.start()
        told = {e["id"] for e in running.events()}
        until(lambda: told <= set(later.ids), 60, "every event")
        until(lambda: not waiting(running, webhook), 10, "nothing left")
    running.stop()


def waiting(running, webhook):
    return running.get(f"/v1/webhooks/{webhook}")["waiting"]
