"""A function is told what it needs, and says at its cold start what it isn't told."""

from datetime import timedelta

import pytest

from chalicelib.settings import FUNCTIONS, PREFIX, MissingSettings, Settings

TOLD = {
    "QUIET_SECONDS": "2.5",
    "MAX_INSTANCES_PER_MODEL": "3",
    "DATA_CAPTURE": "10",
    "RATE_PER_ENDPOINT": "0.5",
    "ALLOWED_INSTANCE_TYPES": "ml.g5.xlarge, ml.m5.large,",
    "MODEL_SUBNETS": "",
}


def environment(function: str, **told: str) -> dict[str, str]:
    return {PREFIX + name: {**TOLD, **told}.get(name, name.lower()) for name in FUNCTIONS[function]}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_name_that_is_missing_is_said_at_once(function):
    with pytest.raises(MissingSettings) as caught:
        Settings.read(function, {})
    assert all(PREFIX + name in str(caught.value) for name in FUNCTIONS[function])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_a_function_is_not_told_stays_empty(function):
    told = Settings.read(function, environment(function) | {"MODELDROP_NOISE": "x"})
    asked = {"quiet" if name == "QUIET_SECONDS" else name.lower() for name in FUNCTIONS[function]}
    untold = set(vars(told)) - asked - {"region", "bounds"}
    assert not any(getattr(told, name) for name in untold)


def test_numbers_lists_and_times_are_read_as_such():
    told = Settings.read("re_sync", environment("re_sync") | {"AWS_REGION": "eu-west-1"})
    assert (told.quiet, told.max_instances_per_model, told.data_capture) == (timedelta(seconds=2.5), 3, 10)
    assert told.allowed_instance_types == ("ml.g5.xlarge", "ml.m5.large")
    assert (told.model_subnets, told.region, told.stack) == ((), "eu-west-1", "stack")
    assert Settings.read("api", environment("api")).rate_per_endpoint == 0.5
