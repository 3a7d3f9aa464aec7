"""The content of a `deploy.yaml`, read strictly: each field by itself, and every wrong one told at once.

What a drop wishes is held within the operator's bounds in `deploy`. docs/deploy-yaml.md is the reference.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import NAME_RULE, is_legal
from chalicelib.domain.rollout import OnInconclusive
from chalicelib.domain.shadow import Agree, Shadow
from chalicelib.domain.split import WHOLE
from chalicelib.domain.strategy import AT_ONCE, Gate, OnNewer, Placement, Strategy
from chalicelib.domain.synthetic import SyntheticUse
from chalicelib.domain.windows import window_from

# --- what a drop may say -----------------------------------------------------------------------------------------
_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_DURATION_RULE = "seconds as a number, or a duration such as 90s, 5m or 1h30m"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_INSTANCE_TYPE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_MOST_ENDPOINTS = 10
_MOST_STEPS = 20
_MOST_WINDOWS = 20
_LONGEST_VALUE = 4096


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return _seconds(value)
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return _seconds(hours * 3600 + minutes * 60 + seconds)
    raise ValueError(f"must be {_DURATION_RULE}")


def _seconds(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError("is longer than any rollout") from error


def _endpoint(name: object) -> object:
    if not (isinstance(name, str) and is_legal(name)):
        raise ValueError(f"must be a name: {NAME_RULE}")
    return name


def _instance_type(name: object) -> object:
    if not (isinstance(name, str) and _INSTANCE_TYPE.fullmatch(name)):
        raise ValueError("must be an instance type, such as ml.g5.xlarge")
    return name


def _endpoints(names: object) -> tuple[str, ...]:
    listed = tuple(names) if isinstance(names, list | tuple) else ()
    for name in listed:
        _endpoint(name)
    if not 1 <= len(listed) <= _MOST_ENDPOINTS or len(set(listed)) < len(listed):
        raise ValueError(f"must be a list of 1 to {_MOST_ENDPOINTS} names, each once, such as [numbers, letters]")
    return listed


def _steps(steps: object) -> tuple[int, ...]:
    whole = isinstance(steps, list | tuple) and all(type(step) is int for step in steps)
    if not whole or not isinstance(steps, list | tuple):
        raise ValueError("must be a list of whole percents, such as [5, 25, 50, 100]")
    growing = all(a < b for a, b in pairwise(steps))
    if not (2 <= len(steps) <= _MOST_STEPS and growing and steps[0] >= 1 and steps[-1] == WHOLE):  # noqa: PLR2004
        raise ValueError(f"must grow from at least 1 to {WHOLE}, with 2 to {_MOST_STEPS} steps: the last is promotion")
    return tuple(steps)


def _percent(value: object) -> object:
    if isinstance(value, str) and value.endswith("%") and value[:-1].strip().isdecimal():
        return int(value[:-1])
    if type(value) is not int:
        raise ValueError("must be whole percents, such as 10%")
    return value


def _windows(windows: object) -> tuple[str, ...]:
    if not isinstance(windows, list | tuple) or len(windows) > _MOST_WINDOWS:
        raise ValueError(f"must be a list of at most {_MOST_WINDOWS} windows, such as [Mon-Fri 09:00-17:00 UTC]")
    for text in windows:
        try:
            window_from(str(text))
        except ValueError as error:
            raise ValueError(f"{str(text)[:80]!r} {error}") from error
    return tuple(str(text) for text in windows)


def _environment(variables: object) -> object:
    if not isinstance(variables, Mapping):
        raise ValueError("must map names to values")  # noqa: TRY004 - pydantic reads ValueErrors only
    for name, value in variables.items():
        if not (isinstance(name, str) and _VARIABLE.fullmatch(name)):
            raise ValueError(f"{str(name)[:80]!r} is no name of a variable: letters, digits and _, at most 128")
        if not isinstance(value, str):
            message = f"the value of {name} must be text: write it in quotes, as in {name}: '{value}'"
            raise ValueError(message)  # noqa: TRY004 - as above
        if len(value) > _LONGEST_VALUE or "\0" in value:
            raise ValueError(f"the value of {name} must be at most {_LONGEST_VALUE} characters without a zero byte")
    return dict(variables)


Duration = Annotated[timedelta, BeforeValidator(_duration)]
InstanceType = Annotated[str, BeforeValidator(_instance_type)]
Environment = Annotated[Mapping[str, str], BeforeValidator(_environment)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    # Built when a wish is first read: every function imports this, few read one.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class ThresholdWishes(_Strict):
    """When a canary is worse than stable; see `rollout.Thresholds`."""

    min_requests: Positive | None = None
    max_error_share: Share | None = None
    max_rejected_share: Share | None = None
    max_nonfinite_share: Share | None = None
    max_structure_share: Share | None = None
    min_agreement: Share | None = None
    max_psi: Annotated[float, Field(ge=0)] | None = None
    max_latency_ratio: Annotated[float, Field(ge=1)] | None = None
    latency_slack_ms: Annotated[float, Field(ge=0)] | None = None


class ShadowWish(_Strict):
    """See `shadow.Shadow`."""

    model_config = ConfigDict(validate_by_alias=True)
    share: Annotated[int, BeforeValidator(_percent), Field(ge=1, le=WHOLE)] = Shadow.share
    time: Annotated[Duration, Field(alias="for", ge=timedelta(seconds=1))] = Shadow.time
    min_requests: Positive = Shadow.min_requests
    agree: Annotated[Agree, Field(strict=False)] = Shadow.agree
    top_k: Positive = Shadow.top_k
    tolerance: Annotated[float, Field(ge=0)] | None = None
    keep_disagreements: bool = False

    @property
    def shadow(self) -> Shadow:
        return Shadow(**{name: getattr(self, name) for name in ShadowWish.model_fields})


class GateWish(_Strict):
    """See `strategy.Gate`."""

    before: Annotated[int, Field(ge=1, le=WHOLE)]
    timeout: Duration | None = None
    ask: Annotated[str, BeforeValidator(_endpoint)] = ""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        """Take a bare percent for a gate that a person opens."""
        return {"before": value} if type(value) is int else value

    @property
    def gate(self) -> Gate:
        return Gate(self.before, self.timeout, self.ask)


class Wishes(_Strict):
    """The content of a `deploy.yaml`; what isn't said is None. Also how an operator says the platform's defaults."""

    endpoint: Annotated[str, BeforeValidator(_endpoint)] | None = None
    endpoints: Annotated[tuple[str, ...], BeforeValidator(_endpoints)] | None = None
    strategy: Annotated[Strategy, Field(strict=False)] | None = None
    steps: Annotated[tuple[int, ...], BeforeValidator(_steps)] | None = None
    step_by: Annotated[int, Field(ge=1, le=50)] | None = None
    step_time: Duration | None = None
    max_extensions: Annotated[int, Field(ge=0)] | None = None
    on_inconclusive: Annotated[OnInconclusive, Field(strict=False)] | None = None
    start_timeout: Duration | None = None
    keep_warm: Duration | None = None
    bake: Duration | None = None
    gates: Annotated[tuple[GateWish, ...], Field(strict=False, max_length=_MOST_STEPS)] | None = None
    windows: Annotated[tuple[str, ...], BeforeValidator(_windows)] | None = None
    on_newer: Annotated[OnNewer, Field(strict=False)] | None = None
    placement: Annotated[Placement, Field(strict=False)] | None = None
    shadow: ShadowWish | None = None
    synthetic: Annotated[SyntheticUse, Field(strict=False)] | None = None
    thresholds: ThresholdWishes = Field(default_factory=ThresholdWishes)
    replicas: Positive | None = None
    min: Positive | None = None
    max: Positive | None = None
    memory_mb: Positive | None = None
    instance_type: InstanceType | None = None
    instance_types: Annotated[tuple[InstanceType, ...], Field(strict=False, min_length=1, max_length=10)] | None = None
    environment: Environment | None = None

    @model_validator(mode="before")
    @classmethod
    def _shadow_first(cls, value: object) -> object:
        """Take `strategy: shadow` for a canary that is a shadow first."""
        if isinstance(value, Mapping) and value.get("strategy") == "shadow":
            return {"shadow": {}, **value, "strategy": str(Strategy.CANARY)}
        return value

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.replicas is not None and (self.min is not None or self.max is not None):
            raise ValueError("replicas: say either replicas, or min and max, not both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: must be at most max, which is {self.max}")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.endpoint is not None and self.endpoints is not None:
            raise ValueError("endpoints: say either endpoint or endpoints, not both")
        return self

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.instance_types and self.instance_type:
            raise ValueError("instance_types: say either instance_type or instance_types, not both")
        if len(set(self.types)) < len(self.types):
            raise ValueError("instance_types: one is there twice; each is tried once")
        return self

    @property
    def types(self) -> tuple[str, ...]:
        """The instance types to try, in order."""
        return self.instance_types or ((self.instance_type,) if self.instance_type else ())

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.strategy is Strategy.BLUE_GREEN and self.bake == timedelta(0):
            raise ValueError("bake: blue_green is judged while it bakes; give it a time, such as 10m")
        if self.steps is not None and self.strategy not in {None, Strategy.CANARY}:
            raise ValueError(f"steps: belong to strategy canary, not to {self.strategy}")
        steps = self.steps is not None or self.strategy not in {None, *AT_ONCE}
        if self.placement is Placement.RECREATE and steps:
            raise ValueError("placement: recreate runs one version at a time, so it takes no steps; leave them out")
        if self.placement is Placement.RECREATE and self.shadow:
            raise ValueError("placement: recreate runs one version at a time, so there is none to be a shadow of")
        if self.step_by is not None and self.strategy is not Strategy.LINEAR:
            raise ValueError("step_by: belongs to strategy linear; say `strategy: linear`, too")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """Return the endpoints that are wished for, () for none in particular."""
        return self.endpoints or ((self.endpoint,) if self.endpoint else ())

    def count(self, otherwise: int) -> int:
        """Return how many replicas are wished to begin with."""
        return self.replicas or self.min or (min(otherwise, self.max) if self.max else otherwise)

    def most(self, count: int, otherwise: int) -> int:
        """Return how many replicas it may scale to, from `count`; 0 when it doesn't scale."""
        most = 0 if self.replicas else self.max or otherwise
        return most if most > count else 0


def wishes_from(mapping: Mapping[str, Any]) -> Wishes:
    """Read the parsed YAML of a `deploy.yaml`; raises Rejected with every wrong field at once."""
    try:
        return Wishes.model_validate(dict(mapping))
    except ValidationError as error:
        wrong = "; ".join(_in_words(each) for each in error.errors(include_url=False))
        raise Rejected(f"deploy.yaml: {wrong}", code="bad_deploy_yaml") from error


def _in_words(error: ErrorDetails) -> str:
    """Return one error as a sentence: the field's path, what was wrong, what is allowed."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{where} is unknown; {_nearest(error)}"
    if error["type"] == "model_type":
        return f"{where}: must map names to values, as in {where}: {{min_requests: 50}}"
    said = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if not where:
        return said
    given = "" if isinstance(error["input"], Mapping) else f", not {str(error['input'])[:80]!r}"
    return f"{where}: {said}{given}"


def _nearest(error: ErrorDetails) -> str:
    *parents, key = error["loc"]
    legal = list((ThresholdWishes if "thresholds" in parents else Wishes).model_fields)
    if near := get_close_matches(str(key), legal, n=1):
        return f"do you mean {'.'.join([*map(str, parents), near[0]])}?"
    if not parents and key in ThresholdWishes.model_fields:
        return f"do you mean thresholds.{key}?"
    return f"allowed are {', '.join(legal)}"
