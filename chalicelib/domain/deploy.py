"""What a version gets: what its drop wishes, held within what the operator allows.

A drop carries wishes, not authority. `wishes_from` reads parsed YAML strictly, `settle` holds the wishes within the
operator's bounds and lays them over the platform's defaults, `may_deploy` guards an endpoint's owner. Each refusal is
a Rejected that names the field, what was wrong and what is allowed. docs/deploy-yaml.md is the reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from pydantic import BaseModel

from chalicelib.domain.deployment import Resources
from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Plan, Thresholds
from chalicelib.domain.split import WHOLE
from chalicelib.domain.strategy import AT_ONCE, BLUE_GREEN_BAKE, LINEAR_BY, Gate, Placement, Strategy, equal_steps
from chalicelib.domain.wishes import ThresholdWishes, Wishes

T = TypeVar("T", Plan, Thresholds, Resources)


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
    max_structure_share: float = 1.0
    max_latency_ratio: float = 10.0
    max_latency_slack_ms: float = 1000.0
    max_bake: timedelta = timedelta(days=1)
    least_agreement: float = 0.5
    max_psi: float = 10.0
    max_shadow: timedelta = timedelta(days=7)
    keep_disagreements: bool = False  # requests and answers of a shadow: they hold what users sent
    strategies: tuple[str, ...] = ("canary", "linear", "blue_green")  # all_at_once is judged by nothing
    placements: tuple[str, ...] = ("surge", "co_resident")  # while it recreates, nothing answers
    grants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    questions: Mapping[str, str] = field(default_factory=dict)  # URLs that a gate may ask, by the names that it says


@dataclass(frozen=True)
class Settled:
    """What a version gets: where it goes, how its rollout goes, what its deployment runs on."""

    endpoints: tuple[str, ...]  # where it goes, each by a rollout of its own
    plan: Plan
    resources: Resources


def settle(wishes: Wishes, defaults: Wishes | Plan, bounds: Bounds, ref: VersionRef) -> Settled:
    """Hold a drop's wishes within the bounds and lay them over the defaults; raises Rejected."""
    _hold(wishes, bounds)
    base = Settled((ref.model_id,), Plan(), Resources())
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
    said = "step_time max_extensions on_inconclusive keep_warm windows on_newer placement synthetic"
    plan = _said(base.plan, wishes, said)
    plan = _gated(_by_strategy(plan, wishes), wishes)
    plan = replace(plan, shadow=wishes.shadow.shadow) if wishes.shadow else plan
    thresholds = _said(plan.thresholds, wishes.thresholds, " ".join(ThresholdWishes.model_fields))
    resources = _said(base.resources, wishes, "memory_mb environment")
    if wishes.types:
        resources = replace(resources, instance_type=wishes.types[0])
        plan = replace(plan, fallback_types=wishes.types[1:])
    count = wishes.count(resources.replicas)
    resources = replace(resources, replicas=count, max_replicas=wishes.most(count, resources.max_replicas))
    if wishes.start_timeout is not None:
        resources = replace(resources, start_timeout_s=wishes.start_timeout.total_seconds())
        # The rollout waits longer than the replica may take, so that a slow one ends with its own error.
        plan = replace(plan, start_timeout=max(plan.start_timeout, 2 * wishes.start_timeout))
    return Settled(wishes.places or base.endpoints, replace(plan, thresholds=thresholds), resources)


def _by_strategy(base: Plan, wishes: Wishes) -> Plan:
    """Return the plan with the steps and the bake that its strategy has."""
    strategy = wishes.strategy or (Strategy.CANARY if wishes.steps else base.strategy)
    if base.placement is Placement.RECREATE and strategy not in AT_ONCE:
        strategy = Strategy.BLUE_GREEN  # one version at a time has no steps
    bake = base.bake if wishes.bake is None else wishes.bake
    match strategy:
        case Strategy.CANARY:
            steps = wishes.steps or (base.steps if base.strategy is strategy else Plan().steps)
        case Strategy.LINEAR if wishes.step_by or base.strategy is not strategy:
            steps = equal_steps(wishes.step_by or LINEAR_BY)
        case Strategy.LINEAR:
            steps = base.steps
        case _:
            steps = (WHOLE,)
            bake = bake or (BLUE_GREEN_BAKE if strategy is Strategy.BLUE_GREEN else bake)
    return replace(base, strategy=strategy, steps=steps, bake=bake)


def _gated(plan: Plan, wishes: Wishes) -> Plan:
    """Return the plan with its gates, each before a step that there is; raises Rejected."""
    gates = plan.gates if wishes.gates is None else tuple(sorted((w.gate for w in wishes.gates), key=_before))
    percents = [gate.before for gate in gates]
    strange = sorted(set(percents) - set(plan.steps))
    twice = sorted({percent for percent in percents if percents.count(percent) > 1})
    if strange or twice:
        steps = ", ".join(str(step) for step in plan.steps)
        wrong = f"{strange[0]} is none of the steps {steps}" if strange else f"{twice[0]} is there twice"
        raise Rejected(f"deploy.yaml: gates: {wrong}; a gate stands before a step", code="bad_deploy_yaml")
    return replace(plan, gates=gates)


def _before(gate: Gate) -> int:
    return gate.before


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
        _past("bake", wishes.bake or None, least=bounds.min_step_time, most=bounds.max_bake),
        _past("thresholds.min_requests", limits.min_requests, least=bounds.least_requests),
        _past("thresholds.max_error_share", limits.max_error_share, most=bounds.max_error_share),
        _past("thresholds.max_rejected_share", limits.max_rejected_share, most=bounds.max_rejected_share),
        _past("thresholds.max_nonfinite_share", limits.max_nonfinite_share, most=bounds.max_nonfinite_share),
        _past("thresholds.max_structure_share", limits.max_structure_share, most=bounds.max_structure_share),
        _past("thresholds.min_agreement", limits.min_agreement, least=bounds.least_agreement),
        _past("thresholds.max_psi", limits.max_psi, most=bounds.max_psi),
        _past("shadow.for", wishes.shadow and wishes.shadow.time, most=bounds.max_shadow),
        _past("shadow.min_requests", wishes.shadow and wishes.shadow.min_requests, least=bounds.least_requests),
        _past_kept(wishes, bounds),
        _past("thresholds.max_latency_ratio", limits.max_latency_ratio, most=bounds.max_latency_ratio),
        _past("thresholds.latency_slack_ms", limits.latency_slack_ms, most=bounds.max_latency_slack_ms),
    ]


def _past_kept(wishes: Wishes, bounds: Bounds) -> str:
    if wishes.shadow and wishes.shadow.keep_disagreements and not bounds.keep_disagreements:
        return "shadow.keep_disagreements keeps what users sent, which the operator doesn't allow"
    return ""


def _past(name: str, wished: Any, *, least: Any = None, most: Any = None) -> str:
    if wished is not None and least is not None and wished < least:
        return f"{name} is {wished}, the operator allows no less than {least}"
    if wished is not None and most is not None and wished > most:
        return f"{name} is {wished}, the operator allows at most {most}"
    return ""


def _past_names(wishes: Wishes, bounds: Bounds) -> list[str]:
    names = [past_name(name, bounds) for name in wishes.environment or {}]
    names += [_past_question(gate.ask, bounds) for gate in wishes.gates or ()]
    ways = [("strategy", wishes.strategy, bounds.strategies), ("placement", wishes.placement, bounds.placements)]
    types = [_past_type(name, bounds) for name in wishes.types]
    return [*types, *(_past_way(*way) for way in ways), *names]


def _past_question(name: str, bounds: Bounds) -> str:
    if not name or name in bounds.questions:
        return ""
    configured = ", ".join(bounds.questions) or "nobody"
    return f"gates: the operator configured nobody to be asked as {name} (configured: {configured})"


def _past_way(what: str, way: str | None, allowed: tuple[str, ...]) -> str:
    if way is None or way in allowed:
        return ""
    return f"{what} {way} is not among those that the operator allows ({', '.join(allowed)})"


def _past_type(name: str, bounds: Bounds) -> str:
    if name in bounds.instance_types:
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
