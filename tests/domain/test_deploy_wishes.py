"""What a deploy.yaml may say, and how it is told what is wrong."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import Rejected
from chalicelib.domain.wishes import Wishes, wishes_from


def refusal(mapping) -> str:
    with pytest.raises(Rejected) as caught:
        wishes_from(mapping)
    assert caught.value.code == "bad_deploy_yaml"
    return str(caught.value)


def test_an_empty_file_wishes_nothing():
    assert wishes_from({}) == Wishes()


def test_a_field_without_a_value_is_not_said():
    assert wishes_from({"steps": None, "replicas": None}) == Wishes()


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5s", timedelta(seconds=1.5)),
        (4, timedelta(seconds=4)),
        (0.5, timedelta(seconds=0.5)),
        (0, timedelta(0)),
    ],
)
def test_durations_are_seconds_or_carry_their_unit(text, duration):
    assert wishes_from({"keep_warm": text}).keep_warm == duration


@pytest.mark.parametrize("text", ["", "5", "5 m", "5d", "-5s", "m", "٣s", -1, True, float("nan"), float("inf"), [5]])
def test_other_durations_are_refused(text):
    assert "step_time: must be seconds as a number, or a duration such as 90s" in refusal({"step_time": text})


def test_a_duration_beyond_all_time_is_refused():
    assert "step_time: is longer than any rollout" in refusal({"step_time": 10**30})


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        # Unknown keys name the nearest legal one.
        ({"stepz": [5, 100]}, "stepz is unknown; do you mean steps?"),
        ({"min_requests": 9}, "min_requests is unknown; do you mean thresholds.min_requests?"),
        ({"thresholds": {"min_request": 9}}, "thresholds.min_request is unknown; do you mean thresholds.min_requests?"),
        ({"role": "admin"}, "role is unknown; allowed are endpoint, endpoints, strategy, "),
        # Each field with its path, what was wrong and what is allowed.
        ({"endpoint": "a/b"}, "endpoint: must be a name: 1 to 63 of A-Z a-z 0-9 . _ -, beginning with"),
        ({"endpoint": 7}, "endpoint: must be a name"),
        ({"endpoints": "numbers"}, "endpoints: must be a list of 1 to 10 names"),
        ({"endpoints": []}, "endpoints: must be a list of 1 to 10 names"),
        ({"endpoints": ["a", "a"]}, "endpoints: must be a list of 1 to 10 names, each once"),
        ({"endpoints": ["a", "b/c"]}, "endpoints: must be a name: 1 to 63 of"),
        ({"endpoints": ["a"], "endpoint": "b"}, "endpoints: say either endpoint or endpoints, not both"),
        ({"steps": 5}, "steps: must be a list of whole percents, such as [5, 25, 50, 100], not '5'"),
        ({"steps": [5, "50", 100]}, "steps: must be a list of whole percents"),
        ({"steps": [5, True, 100]}, "steps: must be a list of whole percents"),
        ({"steps": [5, 5, 100]}, "steps: must grow from at least 1 to 100"),
        ({"steps": [5, 50]}, "steps: must grow from at least 1 to 100"),
        ({"steps": [0, 100]}, "steps: must grow from at least 1 to 100"),
        ({"steps": [100]}, "with 2 to 20 steps: the last is promotion"),
        ({"steps": [*range(1, 21), 100]}, "with 2 to 20 steps"),
        ({"strategy": "linear", "steps": [5, 100]}, "steps: belong to strategy canary, not to linear"),
        ({"step_by": 20}, "step_by: belongs to strategy linear; say `strategy: linear`, too"),
        ({"strategy": "linear", "step_by": 51}, "step_by: must be less than or equal to 50"),
        ({"strategy": "rolling"}, "strategy: must be 'canary', 'linear', 'blue_green' or 'all_at_once', not 'rolling'"),
        ({"strategy": "blue_green", "bake": 0}, "bake: blue_green is judged while it bakes; give it a time"),
        ({"gates": 25}, "gates: must be a valid tuple"),
        ({"gates": [0]}, "gates.0.before: must be greater than or equal to 1"),
        ({"gates": [{"before": 100, "timeout": "soon"}]}, "gates.0.timeout: must be seconds as a number"),
        ({"gates": [{"at": 25}]}, "gates.0.at is unknown"),
        (
            {"placement": "recreate", "steps": [5, 100]},
            "placement: recreate runs one version at a time, so",
        ),
        ({"placement": "recreate", "strategy": "linear"}, "placement: recreate runs one version at a time"),
        (
            {"placement": "recreate", "shadow": {}},
            "placement: recreate runs one version at a time, so there is none to",
        ),
        ({"placement": "beside"}, "placement: must be 'surge', 'co_resident' or 'recreate', not 'beside'"),
        ({"on_newer": "ignore"}, "on_newer: must be 'supersede' or 'queue', not 'ignore'"),
        ({"windows": "Mon"}, "windows: must be a list of at most 20 windows"),
        ({"windows": ["Mon 9-17 UTC"]}, "windows: 'Mon 9-17 UTC' must be days, hours and a time zone, such as Mon-Fri"),
        ({"windows": ["Mon 09:00-17:00 Mars/Base"]}, "Mars/Base is no time zone that is known here"),
        ({"on_inconclusive": "promote"}, "on_inconclusive: must be 'hold' or 'abort', not 'promote'"),
        ({"max_extensions": -1}, "max_extensions: must be greater than or equal to 0, not '-1'"),
        ({"min": 0}, "min: must be greater than or equal to 1, not '0'"),
        ({"replicas": "2"}, "replicas: must be a valid integer, not '2'"),
        ({"replicas": 2, "max": 3}, "replicas: say either replicas, or min and max, not both"),
        ({"min": 3, "max": 2}, "min: must be at most max, which is 2"),
        ({"thresholds": 5}, "thresholds: must map names to values, as in thresholds: {min_requests: 50}"),
        ({"thresholds": {"max_error_share": 1.5}}, "thresholds.max_error_share: must be less than or equal to 1"),
        ({"thresholds": {"max_error_share": float("nan")}}, "thresholds.max_error_share: must be a finite number"),
        ({"thresholds": {"max_latency_ratio": 0.5}}, "thresholds.max_latency_ratio: must be greater than or equal"),
        ({"instance_type": "ML G5"}, "instance_type: must be an instance type, such as ml.g5.xlarge, not 'ML G5'"),
        ({"instance_type": 5}, "instance_type: must be an instance type"),
        (
            {"instance_type": "ml.m5.large", "instance_types": ["ml.g5.xlarge"]},
            "instance_types: say either instance_type or instance_types, not both",
        ),
        ({"instance_types": ["ml.m5.large", "ml.m5.large"]}, "instance_types: one is there twice"),
        ({"instance_types": ["ML G5"]}, "instance_types.0: must be an instance type"),
        ({"environment": ["A"]}, "environment: must map names to values"),
        ({"environment": {"A": 3.1}}, "environment: the value of A must be text: write it in quotes, as in A: '3.1'"),
        ({"environment": {"A B": "1"}}, "environment: 'A B' is no name of a variable"),
        ({"environment": {"A": "x\0y"}}, "without a zero byte"),
        ({"environment": {"A": "x" * 4097}}, "at most 4096 characters"),
        ({1: 2}, "1: Keys should be strings"),
    ],
)
def test_a_wrong_field_is_told_by_its_path(mapping, said):
    assert said in refusal(mapping)


def test_every_wrong_field_is_told_at_once():
    said = refusal({"stepz": 1, "replicas": 0, "thresholds": {"min_requests": "x"}})
    assert all(field in said for field in ("stepz", "replicas", "thresholds.min_requests"))


def test_a_variables_value_is_not_repeated_in_another_ones_refusal():
    assert "hunter2" not in refusal({"environment": {"PASSWORD": "hunter2", "A B": "x"}})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10) | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(Wishes.model_fields)) | st.text(max_size=12), anything, max_size=5))
def test_any_yaml_is_read_or_rejected(mapping):
    try:
        read = wishes_from(mapping)
    except Rejected as refused:
        read = str(refused)
    assert isinstance(read, Wishes) or read.startswith("deploy.yaml: ")
