"""docs/deploy-yaml.md says what the code says."""

import re
from datetime import timedelta
from pathlib import Path

import yaml

from chalicelib.domain.deploy import Bounds, settle
from chalicelib.domain.deployment import Resources
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Plan, Thresholds
from chalicelib.domain.shadow import Shadow
from chalicelib.domain.strategy import LINEAR_BY
from chalicelib.domain.wishes import ShadowWish, ThresholdWishes, Wishes, wishes_from

REFERENCE = (Path(__file__).parents[2] / "docs" / "deploy-yaml.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+)`? \|", REFERENCE, re.MULTILINE))
SHADOW_ROWS = dict(re.findall(r"^\| `shadow\.(\w+)` \| `?([^|`]+)`? \|", REFERENCE, re.MULTILINE))
PLAN, RESOURCES, THRESHOLDS = Plan(), Resources(), Thresholds()


def written(value) -> str:
    match value:
        case timedelta():
            return f"{value.total_seconds():.0f}s"
        case tuple():
            return str(list(value))
    return str(value)


def test_every_field_is_in_the_reference_and_no_other():
    assert set(ROWS) == {*Wishes.model_fields, *ThresholdWishes.model_fields} - {"thresholds"}
    assert set(SHADOW_ROWS) == {field.alias or name for name, field in ShadowWish.model_fields.items()}


def test_the_defaults_in_the_reference_are_the_codes():
    said = "strategy steps step_time max_extensions on_inconclusive keep_warm bake gates windows on_newer placement"
    said += " synthetic"
    plan = {name: getattr(PLAN, name) for name in said.split()} | {"step_by": LINEAR_BY}
    resources = {name: getattr(RESOURCES, name) for name in ("replicas", "memory_mb", "environment")}
    start = {"start_timeout": timedelta(seconds=RESOURCES.start_timeout_s)}
    thresholds = {name: getattr(THRESHOLDS, name) for name in ThresholdWishes.model_fields}
    known = plan | resources | start | thresholds
    assert {name: ROWS[name].strip() for name in known} == {name: written(value) for name, value in known.items()}


def test_the_defaults_of_a_shadow_in_the_reference_are_the_codes():
    fields = {field.alias or name: name for name, field in ShadowWish.model_fields.items()}
    known = {said: written(getattr(Shadow(), name)) for said, name in fields.items()}
    assert {name: row.strip() for name, row in SHADOW_ROWS.items()} == known | {"tolerance": "none"}


def test_the_example_in_the_reference_is_legal():
    example = re.search(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
    wishes = wishes_from(yaml.safe_load(example.group(1)))
    bounds = Bounds(environment_names=("TOP_K",))
    assert settle(wishes, Plan(), bounds, VersionRef("digits", "v2")).plan.thresholds.min_requests == 200
