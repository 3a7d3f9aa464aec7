"""What a rollout starts is said before it starts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.cost import in_words, instance_hours
from chalicelib.domain.deployment import Deployment, Resources
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Plan, Rollout

CANARY = Deployment("v2-b", "digits", VersionRef("digits", "v2"), "sha-2", "digits/v2/x/", Resources(replicas=2))
PLAN = Plan(steps=(10, 50, 100), step_time=timedelta(minutes=30), keep_warm=timedelta(hours=1))
LATER = Rollout("r-1", "digits", CANARY.ref, CANARY, "v1-a", PLAN, opened=datetime(2026, 1, 1, tzinfo=UTC))
FIRST = replace(LATER, stable="")
GPUS = replace(LATER, canary=replace(CANARY, resources=Resources(replicas=1, instance_type="ml.g5.xlarge")))


@pytest.mark.parametrize(
    ("rollout", "hours", "words"),
    [
        (LATER, 4.0, "starts 2 x replica, beside what serves for at least 2:00:00 (4 instance-hours)"),
        (GPUS, 2.0, "starts 1 x ml.g5.xlarge, beside what serves for at least 2:00:00 (2 instance-hours)"),
        (FIRST, 0.0, "starts 2 x replica, which run until they are replaced"),
    ],
)
def test_the_instances_and_hours_follow_from_the_plan(rollout, hours, words):
    assert (instance_hours(rollout), in_words(rollout)) == (hours, words)
