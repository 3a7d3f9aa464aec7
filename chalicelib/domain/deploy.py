"""`deploy.yaml`: what a drop wishes, held within what the operator allows.

A drop carries wishes, not authority. `wishes_from` reads parsed YAML strictly, `settle` holds the wishes within the
operator's bounds and lays them over the platform's defaults, `may_deploy` guards an endpoint's owner. Each refusal is
a Rejected that names the field, what was wrong and what is allowed. docs/deploy-yaml.md is the reference.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from chalicelib.domain.deployment import Resources
from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import NAME_RULE, VersionRef, is_legal
from chalicelib.domain.rollout import OnInconclusive, Plan, Thresholds
from chalicelib.domain.split import WHOLE

# --- what a drop may say -----------------------------------------------------------------------------------------
_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_DURATION_RULE = "seconds as a number, or a duration such as 90s, 5m or 1h30m"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_INSTANCE_TYPE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_MOST_STEPS = 20
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


def _steps(steps: object) -> tuple[int, ...]:
    whole = isinstance(steps, list | tuple) and all(type(step) is int for step in steps)
    if not whole or not isinstance(steps, list | tuple):
        raise ValueError("must be a list of whole percents, such as [5, 25, 50, 100]")
    growing = all(a < b for a, b in pairwise(steps))
    if not (2 <= len(steps) <= _MOST_STEPS and growing and steps[0] >= 1 and steps[-1] == WHOLE):  # noqa: PLR2004
        raise ValueError(f"must grow from at least 1 to {WHOLE}, with 2 to {_MOST_STEPS} steps: the last is promotion")
    return tuple(steps)


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
Environment = Annotated[Mapping[str, str], BeforeValidator(_environment)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
T = TypeVar("T", Plan, Thresholds, Resources)


class _Strict(BaseModel):
    # Built when a wish is first read: every function imports this, few read one.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class ThresholdWishes(_Strict):
    """When a canary is worse than stable; see `rollout.Thresholds`."""

    min_requests: Positive | None = None
    max_error_share: Share | None = None
    max_rejected_share: Share | None = None
    max_nonfinite_share: Share | None = None
    max_latency_ratio: Annotated[float, Field(ge=1)] | None = None
    latency_slack_ms: Annotated[float, Field(ge=0)] | None = None


class Wishes(_Strict):
    """The content of a `deploy.yaml`; what isn't said is None. Also how an operator says the platform's defaults."""

    endpoint: Annotated[str, BeforeValidator(_endpoint)] | None = None
    steps: Annotated[tuple[int, ...], BeforeValidator(_steps)] | None = None
    step_time: Duration | None = None
    max_extensions: Annotated[int, Field(ge=0)] | None = None
    on_inconclusive: Annotated[OnInconclusive, Field(strict=False)] | None = None
    start_timeout: Duration | None = None
    keep_warm: Duration | None = None
    thresholds: ThresholdWishes = Field(default_factory=ThresholdWishes)
    replicas: Positive | None = None
    min: Positive | None = None
    max: Positive | None = None
    memory_mb: Positive | None = None
    instance_type: Annotated[str, BeforeValidator(_instance_type)] | None = None
    environment: Environment | None = None

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.replicas is not None and (self.min is not None or self.max is not None):
            raise ValueError("replicas: say either replicas, or min and max, not both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: must be at most max, which is {self.max}")
        return self

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


# --- what the operator allows ------------------------------------------------------------------------------------
# What steers a loader, an interpreter, a cloud's client or us is never a drop's to set, whatever the operator lists.
_NEVER_PREFIXES = (
    "LD_", "DYLD_", "GLIBC_", "MALLOC_", "PYTHON", "AWS_", "AIP_", "MODELDROP_", "SAGEMAKER_", "GOOGLE_", "GCLOUD_",
    "CLOUDSDK_", "AZURE_", "OCI_", "BASH_", "SSL_", "REQUESTS_", "CURL_",
)  # fmt: skip
_NEVER = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "ENV", "IFS", "PWD", "TMPDIR", "TMP", "TEMP", "GCONV_PATH", "LOCPATH",
    "NLSPATH", "HOSTALIASES", "RES_OPTIONS", "VIRTUAL_ENV", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
})  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """What the operator allows; a wish past a bound is Rejected. The operator's own defaults are no wishes.

    `environment_names` are names or patterns with `*`; those of the loader, Python and clouds are refused all the
    same. `grants` says which models, besides the owner, may deploy to an endpoint.
    """

    max_replicas: int = 4
    max_memory_mb: int = 65536
    environment_names: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()  # that a drop may ask for, where the fleet has such
    images: tuple[str, ...] = ()  # that a container.yaml may name: names or patterns with `*`
    min_step_time: timedelta = timedelta(seconds=5)
    max_step_time: timedelta = timedelta(days=7)
    max_extensions: int = 100
    max_start_timeout: timedelta = timedelta(hours=1)
    max_keep_warm: timedelta = timedelta(days=1)
    least_requests: int = 10  # floor of thresholds.min_requests
    max_error_share: float = 0.1
    max_rejected_share: float = 0.5
    max_nonfinite_share: float = 0.1
    max_latency_ratio: float = 10.0
    max_latency_slack_ms: float = 1000.0
    grants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settled:
    """What a version gets: where it goes, how its rollout goes, what its deployment runs on."""

    endpoint: str
    plan: Plan
    resources: Resources


def settle(wishes: Wishes, defaults: Wishes | Plan, bounds: Bounds, ref: VersionRef) -> Settled:
    """Hold a drop's wishes within the bounds and lay them over the defaults; raises Rejected."""
    _hold(wishes, bounds)
    base = Settled(ref.model_id, Plan(), Resources())
    base = replace(base, plan=defaults) if isinstance(defaults, Plan) else _over(base, defaults)
    return _over(base, wishes)


def may_deploy(endpoint_owner: str | None, ref: VersionRef, endpoint_name: str, bounds: Bounds) -> None:
    """Raise Rejected when the endpoint is another model's and the operator granted nothing; None owns nothing yet."""
    if endpoint_owner in {None, ref.model_id} or ref.model_id in bounds.grants.get(endpoint_name, ()):
        return
    raise Rejected(
        f"endpoint {endpoint_name} belongs to model {endpoint_owner}, so {ref} may not deploy to it; choose another "
        f"endpoint in deploy.yaml or ask the operator to grant {endpoint_name} to {ref.model_id}",
        code="not_your_endpoint",
    )


def _over(base: Settled, wishes: Wishes) -> Settled:
    """Return it with everything that the wishes say."""
    plan = _said(base.plan, wishes, "steps step_time max_extensions on_inconclusive keep_warm")
    thresholds = _said(plan.thresholds, wishes.thresholds, " ".join(ThresholdWishes.model_fields))
    resources = _said(base.resources, wishes, "memory_mb instance_type environment")
    count = wishes.count(resources.replicas)
    resources = replace(resources, replicas=count, max_replicas=wishes.most(count, resources.max_replicas))
    if wishes.start_timeout is not None:
        resources = replace(resources, start_timeout_s=wishes.start_timeout.total_seconds())
        # The rollout waits longer than the replica may take, so that a slow one ends with its own error.
        plan = replace(plan, start_timeout=max(plan.start_timeout, 2 * wishes.start_timeout))
    return Settled(wishes.endpoint or base.endpoint, replace(plan, thresholds=thresholds), resources)


def _said(base: T, wishes: BaseModel, names: str) -> T:
    said = {name: getattr(wishes, name) for name in names.split()}
    return replace(base, **{name: value for name, value in said.items() if value is not None})


def _hold(wishes: Wishes, bounds: Bounds) -> None:
    past = [said for said in (*_past_limits(wishes, bounds), *_past_names(wishes, bounds)) if said]
    if past:
        raise Rejected(f"deploy.yaml: {'; '.join(past)}", code="past_bound")


def _past_limits(wishes: Wishes, bounds: Bounds) -> list[str]:
    limits = wishes.thresholds
    return [
        _past("replicas", wishes.replicas, most=bounds.max_replicas),
        _past("min", wishes.min, most=bounds.max_replicas),
        _past("max", wishes.max, most=bounds.max_replicas),
        _past("memory_mb", wishes.memory_mb, most=bounds.max_memory_mb),
        _past("step_time", wishes.step_time, least=bounds.min_step_time, most=bounds.max_step_time),
        _past("max_extensions", wishes.max_extensions, most=bounds.max_extensions),
        _past("start_timeout", wishes.start_timeout, least=timedelta(seconds=1), most=bounds.max_start_timeout),
        _past("keep_warm", wishes.keep_warm, most=bounds.max_keep_warm),
        _past("thresholds.min_requests", limits.min_requests, least=bounds.least_requests),
        _past("thresholds.max_error_share", limits.max_error_share, most=bounds.max_error_share),
        _past("thresholds.max_rejected_share", limits.max_rejected_share, most=bounds.max_rejected_share),
        _past("thresholds.max_nonfinite_share", limits.max_nonfinite_share, most=bounds.max_nonfinite_share),
        _past("thresholds.max_latency_ratio", limits.max_latency_ratio, most=bounds.max_latency_ratio),
        _past("thresholds.latency_slack_ms", limits.latency_slack_ms, most=bounds.max_latency_slack_ms),
    ]


def _past(name: str, wished: Any, *, least: Any = None, most: Any = None) -> str:
    if wished is not None and least is not None and wished < least:
        return f"{name} is {wished}, the operator allows no less than {least}"
    if wished is not None and most is not None and wished > most:
        return f"{name} is {wished}, the operator allows at most {most}"
    return ""


def _past_names(wishes: Wishes, bounds: Bounds) -> list[str]:
    names = [past_name(name, bounds) for name in wishes.environment or {}]
    return [_past_type(wishes.instance_type, bounds), *names]


def _past_type(name: str | None, bounds: Bounds) -> str:
    if name is None or name in bounds.instance_types:
        return ""
    allowed = ", ".join(bounds.instance_types) or "none"
    return f"instance_type {name} is not among those that the operator allows ({allowed})"


def past_name(name: str, bounds: Bounds) -> str:
    """Return why a drop may not set an environment variable; "" when it may."""
    if name.upper() in _NEVER or name.upper().startswith(_NEVER_PREFIXES):
        return f"environment.{name} steers the loader, the interpreter or a cloud's client and is never a drop's to set"
    if any(fnmatchcase(name, allowed) for allowed in bounds.environment_names):
        return ""
    allowed = ", ".join(bounds.environment_names) or "none"
    return f"environment.{name} is not among the names that the operator allows ({allowed})"
