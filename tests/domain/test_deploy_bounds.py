"""How wishes are held within what the operator allows."""

from datetime import timedelta

import pytest

from chalicelib.domain.deploy import Bounds, Settled, may_deploy, settle
from chalicelib.domain.deployment import Resources
from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import OnInconclusive, Plan, Thresholds
from chalicelib.domain.strategy import Gate, OnNewer, Placement, Strategy
from chalicelib.domain.wishes import Wishes, wishes_from

REF = VersionRef("digits", "v2")
NO_DEFAULTS = Wishes()
OPEN_TO = Bounds(environment_names=("TOP_K", "APP_*", "LD_PRELOAD"), instance_types=("ml.g5.xlarge", "ml.m5.large"))


def settled(mapping, *, defaults=NO_DEFAULTS, bounds=OPEN_TO) -> Settled:
    return settle(wishes_from(mapping), defaults, bounds, REF)


def refusal(mapping) -> str:
    with pytest.raises(Rejected) as caught:
        settled(mapping)
    assert caught.value.code == "past_bound"
    return str(caught.value)


def test_without_wishes_the_endpoint_is_the_models_and_all_else_the_defaults():
    assert settled({}) == Settled(("digits",), Plan(), Resources())


def test_every_wish_is_settled():
    assert settled(
        {
            "endpoint": "numbers",
            "steps": [10, 100],
            "step_time": "2m",
            "max_extensions": 5,
            "on_inconclusive": "abort",
            "start_timeout": "20m",
            "keep_warm": "1h",
            "thresholds": {"min_requests": 200, "max_error_share": 0.05},
            "replicas": 2,
            "memory_mb": 2048,
            "instance_type": "ml.g5.xlarge",
            "environment": {"TOP_K": "5", "APP_MODE": "fast"},
        }
    ) == Settled(
        ("numbers",),
        Plan(
            steps=(10, 100),
            step_time=timedelta(minutes=2),
            max_extensions=5,
            on_inconclusive=OnInconclusive.ABORT,
            start_timeout=timedelta(minutes=40),
            keep_warm=timedelta(hours=1),
            thresholds=Thresholds(min_requests=200, max_error_share=0.05),
        ),
        Resources(2, 2048, 1200.0, {"TOP_K": "5", "APP_MODE": "fast"}, instance_type="ml.g5.xlarge"),
    )


def test_a_version_may_go_to_several_endpoints():
    assert settled({"endpoints": ["numbers", "letters"]}).endpoints == ("numbers", "letters")
    assert settled({}, defaults=Wishes(endpoint="all")).endpoints == ("all",)


def test_a_platform_may_be_started_with_other_defaults():
    faster = Wishes(step_time=timedelta(seconds=4), replicas=2)
    found = settled({"steps": [50, 100]}, defaults=faster)
    assert found.plan == Plan(steps=(50, 100), step_time=timedelta(seconds=4))
    assert found.resources.replicas == 2
    assert settled({"step_time": 30}, defaults=faster).plan.step_time == timedelta(seconds=30)
    assert settled({}, defaults=Plan(steps=(20, 100))).plan == Plan(steps=(20, 100))


def test_the_operators_own_defaults_are_no_wishes():
    beyond = Wishes(step_time=timedelta(seconds=1), replicas=9)
    assert settled({}, defaults=beyond).resources.replicas == 9


@pytest.mark.parametrize(
    ("mapping", "replicas"), [({"min": 2, "max": 4}, 2), ({"max": 2}, 2), ({"min": 4}, 4), ({"replicas": 1}, 1)]
)
def test_a_range_begins_at_its_least(mapping, replicas):
    assert settled(mapping, defaults=Wishes(replicas=3)).resources.replicas == replicas


@pytest.mark.parametrize(
    ("mapping", "most"),
    [
        ({}, 3),  # the operator's own default scales
        ({"min": 2}, 3),
        ({"min": 3}, 0),
        ({"max": 4}, 4),
        ({"min": 2, "max": 2}, 0),
        ({"replicas": 2}, 0),
    ],
)
def test_it_scales_where_there_is_room_between_the_least_and_the_most(mapping, most):
    assert settled(mapping, defaults=Wishes(max=3)).resources.max_replicas == most


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (
            {"instance_type": "ml.p5.48xlarge"},
            "instance_type ml.p5.48xlarge is not among those that the operator allows (ml.g5.xlarge, ml.m5.large)",
        ),
        ({"replicas": 5}, "replicas is 5, the operator allows at most 4"),
        ({"min": 5}, "min is 5, the operator allows at most 4"),
        ({"max": 5}, "max is 5, the operator allows at most 4"),
        ({"memory_mb": 65537}, "memory_mb is 65537, the operator allows at most 65536"),
        ({"step_time": 1}, "step_time is 0:00:01, the operator allows no less than 0:00:05"),
        ({"step_time": "200h"}, "step_time is 8 days, 8:00:00, the operator allows at most 7 days, 0:00:00"),
        ({"max_extensions": 101}, "max_extensions is 101, the operator allows at most 100"),
        ({"start_timeout": "2h"}, "start_timeout is 2:00:00, the operator allows at most 1:00:00"),
        ({"start_timeout": 0}, "start_timeout is 0:00:00, the operator allows no less than 0:00:01"),
        (
            {"strategy": "all_at_once"},
            "strategy all_at_once is not among those that the operator allows (canary, linear, blue_green)",
        ),
        (
            {"gates": [{"before": 100, "ask": "board"}]},
            "gates: the operator configured nobody to be asked as board (configured: nobody)",
        ),
        (
            {"placement": "recreate"},
            "placement recreate is not among those that the operator allows (surge, co_resident)",
        ),
        ({"bake": 4}, "bake is 0:00:04, the operator allows no less than 0:00:05"),
        ({"bake": "25h"}, "bake is 1 day, 1:00:00, the operator allows at most 1 day, 0:00:00"),
        ({"keep_warm": "25h"}, "keep_warm is 1 day, 1:00:00, the operator allows at most 1 day, 0:00:00"),
        ({"thresholds": {"min_requests": 9}}, "thresholds.min_requests is 9, the operator allows no less than 10"),
        (
            {"thresholds": {"max_error_share": 0.2}},
            "thresholds.max_error_share is 0.2, the operator allows at most 0.1",
        ),
        ({"thresholds": {"max_rejected_share": 0.6}}, "max_rejected_share is 0.6, the operator allows at most 0.5"),
        ({"thresholds": {"max_nonfinite_share": 0.2}}, "max_nonfinite_share is 0.2, the operator allows at most 0.1"),
        ({"thresholds": {"max_latency_ratio": 11}}, "max_latency_ratio is 11.0, the operator allows at most 10.0"),
        ({"thresholds": {"latency_slack_ms": 1001}}, "latency_slack_ms is 1001.0, the operator allows at most 1000.0"),
        ({"environment": {"DEBUG": "1"}}, "environment.DEBUG is not among the names that the operator allows"),
    ],
)
def test_a_wish_past_a_bound_is_rejected_and_says_the_bound(mapping, said):
    assert said in refusal(mapping)


def test_every_wish_past_a_bound_is_told_at_once():
    said = refusal({"replicas": 5, "memory_mb": 10**6, "environment": {"DEBUG": "1"}})
    assert all(field in said for field in ("replicas", "memory_mb", "environment.DEBUG"))


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "ld_preload",
        "PYTHONPATH",
        "AWS_SECRET_ACCESS_KEY",
        "AIP_HTTP_PORT",
        "MODELDROP_DIGEST",
        "PATH",
        "HOME",
    ],
)
def test_loader_python_and_cloud_variables_are_never_a_drops_to_set(name):
    every = Bounds(environment_names=("*",))
    with pytest.raises(Rejected, match="never a drop's to set"):
        settled({"environment": {name: "x"}}, bounds=every)


def test_by_default_no_variable_is_allowed():
    with pytest.raises(Rejected, match=r"allows \(none\)"):
        settled({"environment": {"TOP_K": "5"}}, bounds=Bounds())


def test_by_default_no_instance_type_is_allowed():
    with pytest.raises(Rejected, match=r"allows \(none\)"):
        settled({"instance_type": "ml.m5.large"}, bounds=Bounds())


MINUTE = timedelta(minutes=1)
EVERY_WAY = Bounds(
    strategies=("canary", "linear", "blue_green", "all_at_once"),
    placements=("surge", "co_resident", "recreate"),
    questions={"board": "https://board.example/may-i"},
)


@pytest.mark.parametrize(
    ("mapping", "plan"),
    [
        ({"strategy": "canary"}, Plan()),
        ({"strategy": "linear"}, Plan(strategy=Strategy.LINEAR, steps=(10, 20, 30, 40, 50, 60, 70, 80, 90, 100))),
        ({"strategy": "linear", "step_by": 30}, Plan(strategy=Strategy.LINEAR, steps=(30, 60, 90, 100))),
        ({"strategy": "blue_green"}, Plan(strategy=Strategy.BLUE_GREEN, steps=(100,), bake=10 * MINUTE)),
        ({"strategy": "blue_green", "bake": "1m"}, Plan(strategy=Strategy.BLUE_GREEN, steps=(100,), bake=MINUTE)),
        ({"strategy": "all_at_once"}, Plan(strategy=Strategy.ALL_AT_ONCE, steps=(100,))),
        ({"bake": "1m"}, Plan(bake=MINUTE)),
        ({"gates": [100, 25]}, Plan(gates=(Gate(25), Gate(100)))),
        ({"gates": [{"before": 100, "ask": "board"}]}, Plan(gates=(Gate(100, ask="board"),))),
        ({"gates": [{"before": 100, "timeout": "1m"}]}, Plan(gates=(Gate(100, MINUTE),))),
        ({"windows": ["daily 00:00-24:00 UTC"]}, Plan(windows=("daily 00:00-24:00 UTC",))),
        ({"placement": "co_resident"}, Plan(placement=Placement.CO_RESIDENT)),
        (
            {"placement": "recreate"},
            Plan(strategy=Strategy.BLUE_GREEN, steps=(100,), bake=10 * MINUTE, placement=Placement.RECREATE),
        ),
        (
            {"placement": "recreate", "strategy": "all_at_once"},
            Plan(strategy=Strategy.ALL_AT_ONCE, steps=(100,), placement=Placement.RECREATE),
        ),
        ({"on_newer": "queue"}, Plan(on_newer=OnNewer.QUEUE)),
    ],
)
def test_a_strategy_is_its_steps_and_its_bake(mapping, plan):
    assert settled(mapping, bounds=EVERY_WAY).plan == plan


def test_a_strategy_of_the_drops_own_takes_the_place_of_the_operators_steps():
    operators = Plan(steps=(20, 100))
    assert settled({"strategy": "linear", "step_by": 50}, defaults=operators).plan.steps == (50, 100)
    assert settled({"steps": [50, 100]}, defaults=Wishes(strategy="blue_green")).plan.strategy is Strategy.CANARY
    assert settled({}, defaults=Wishes(strategy="linear", step_by=50)).plan.steps == (50, 100)


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"gates": [30]}, "gates: 30 is none of the steps 5, 25, 50, 100"),
        ({"gates": [25, {"before": 25}]}, "gates: 25 is there twice"),
        ({"strategy": "blue_green", "gates": [25]}, "gates: 25 is none of the steps 100"),
    ],
)
def test_a_gate_stands_before_a_step_of_the_plan(mapping, said):
    with pytest.raises(Rejected, match=said):
        settled(mapping)


def test_the_first_of_several_instance_types_is_taken_and_the_others_are_tried_after_it():
    found = settled({"instance_types": ["ml.m5.large", "ml.g5.xlarge"]})
    assert (found.resources.instance_type, found.plan.fallback_types) == ("ml.m5.large", ("ml.g5.xlarge",))
    with pytest.raises(Rejected, match=r"instance_type ml\.p5\.48xlarge is not among"):
        settled({"instance_types": ["ml.m5.large", "ml.p5.48xlarge"]})


@pytest.mark.parametrize("owner", [None, "digits"])
def test_a_model_may_deploy_to_a_new_endpoint_and_to_its_own(owner):
    may_deploy(owner, REF, "numbers", Bounds())


def test_another_models_endpoint_needs_the_operators_grant():
    with pytest.raises(Rejected, match="endpoint numbers belongs to model letters") as caught:
        may_deploy("letters", REF, "numbers", Bounds(grants={"other": ("digits",), "numbers": ("words",)}))
    assert caught.value.code == "not_your_endpoint"
    may_deploy("letters", REF, "numbers", Bounds(grants={"numbers": ("words", "digits")}))
