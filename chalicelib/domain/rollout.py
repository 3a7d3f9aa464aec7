"""A rollout: the process that moves an endpoint from stable to canary, as a record, an observation and an action.

The record says what was asked and when; it is never believed about the world. `domain.decide` turns a record, an
observation and the time into one action; it never calls anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chalicelib.domain.deployment import Deployment, Running
from chalicelib.domain.exam import Exam
from chalicelib.domain.proof import Asked
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.shadow import Shadow as ShadowPlan
from chalicelib.domain.split import Split
from chalicelib.domain.strategy import Gate, OnNewer, Placement, Strategy
from chalicelib.domain.synthetic import Synthetic, SyntheticUse
from chalicelib.domain.traffic import Traffic


class OnInconclusive(StrEnum):
    """What happens when a step stays without enough evidence through its extensions."""

    HOLD = "hold"  # wait for a person
    ABORT = "abort"


@dataclass(frozen=True)
class Thresholds:
    """When a canary is worse than stable. Shares are fractions of requests."""

    min_requests: int = 50  # of the canary in a step
    max_error_share: float = 0.01  # beyond stable's own
    max_rejected_share: float = 0.05  # 4xx, beyond stable's own
    max_nonfinite_share: float = 0.0  # beyond stable's own
    max_structure_share: float = 0.0  # answers built unlike any of stable's, beyond what stable varies by itself
    min_agreement: float = 0.9  # of a shadow's answers with what callers got
    max_psi: float = 0.25  # between the outputs that callers got and a shadow's
    max_latency_ratio: float = 1.5  # canary's p50, p95 and p99 against stable's
    latency_slack_ms: float = 10.0  # a difference below this is never a failure


@dataclass(frozen=True)
class Plan:
    """How a rollout goes, fixed when it opens."""

    strategy: Strategy = Strategy.CANARY
    steps: tuple[int, ...] = (5, 25, 50, 100)  # canary percents, growing, ending at 100
    step_time: timedelta = timedelta(seconds=60)  # least time at each step
    max_extensions: int = 3  # times that a step without enough evidence is extended by step_time
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    start_timeout: timedelta = timedelta(minutes=10)
    keep_warm: timedelta = timedelta(minutes=10)  # the previous deployment, after promotion
    thresholds: Thresholds = field(default_factory=Thresholds)
    bake: timedelta = timedelta(0)  # with all traffic, still judged and returned by itself; 0: promoted at once
    gates: tuple[Gate, ...] = ()
    windows: tuple[str, ...] = ()  # when a step may be taken, as domain.windows reads them; none: at any time
    on_newer: OnNewer = OnNewer.SUPERSEDE
    placement: Placement = Placement.SURGE
    fallback_types: tuple[str, ...] = ()  # instance types, tried in order where there is no room for the canary's
    shadow: ShadowPlan | None = None  # before any step; None: no live requests are copied
    synthetic: SyntheticUse = SyntheticUse.FAIL  # what requests of ours may decide when there are too few of callers


class Phase(StrEnum):
    QUEUED = "queued"  # it waits for the end of the rollout that is open
    STARTING = "starting"  # the canary's deployment is being started and load tested
    RECREATING = "recreating"  # stable was stopped to make room for it: nothing answers
    SHADOWING = "shadowing"  # it answers copies of live requests, to nobody
    STEPPING = "stepping"  # it has a share of the traffic and is judged
    BAKING = "baking"  # it has all traffic and is judged; stable is warm
    RETURNING = "returning"  # it is stopped to make room for stable again: nothing answers
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"  # by a person
    SUPERSEDED = "superseded"  # by a newer version
    FAILED = "failed"  # it never became ready, or was found wanting before it had traffic


WITH_TRAFFIC = frozenset({Phase.STEPPING, Phase.BAKING})
JUDGED = WITH_TRAFFIC | {Phase.SHADOWING}
OPEN = JUDGED | {Phase.STARTING, Phase.RECREATING, Phase.RETURNING}
ENDS = frozenset(Phase) - OPEN - {Phase.QUEUED}


@dataclass(frozen=True)
class Rollout:
    """One rollout's record.

    `wish` is what a person asked for and wasn't yet done: "promote", "abort" or "". `paused` stops time, not judging:
    a failing canary still goes back.
    """

    id: str
    endpoint: str
    ref: VersionRef
    canary: Deployment
    stable: str  # deployment id, "" for an endpoint's first version
    plan: Plan
    opened: datetime
    phase: Phase = Phase.STARTING
    step: int = -1  # index into plan.steps; -1 before any traffic
    step_since: datetime | None = None  # when the step's window began
    extensions: int = 0
    paused: bool = False
    wish: str = ""
    retry: bool = False  # its deployment had failed before this rollout was opened: it gets another start
    reason: str = ""  # why it is where it is, with numbers
    ended: datetime | None = None
    exam: Exam | None = None  # on golden.jsonl, before any traffic; None: the version has none
    gate: int = 0  # percent of the gate that it waits at; 0: at none
    gate_since: datetime | None = None
    approved: tuple[int, ...] = ()  # gates that were opened
    synthetic: Synthetic | None = None  # of the present step; None: there is nothing to make requests from
    baseline: Traffic | None = None  # of stable, in the window before the canary got all traffic

    then: Phase = Phase.ROLLED_BACK  # how it ends once it has returned
    start_since: datetime | None = None  # when its canary got another instance type

    @property
    def next_type(self) -> str:
        """The instance type to try after the canary's, "" when all were tried."""
        types = ["", *self.plan.fallback_types, ""]
        tried = self.canary.resources.instance_type
        return types[types.index(tried) + 1] if tried in self.plan.fallback_types else types[1]

    @property
    def recreates(self) -> bool:
        """Tell whether stable and canary never run at the same time."""
        return self.plan.placement is Placement.RECREATE and bool(self.stable)

    @property
    def is_open(self) -> bool:
        return self.phase in OPEN

    @property
    def weight(self) -> int:
        """The percent that was last asked for; compare it with the observed split."""
        return self.plan.steps[self.step] if self.step >= 0 else 0


@dataclass(frozen=True)
class Observation:
    """The world as it was seen just now: the fleet, the split in force and the traffic of the step's window."""

    canary: Running
    stable: Running | None  # None for an endpoint's first version
    split: Split
    canary_traffic: Traffic = field(default_factory=Traffic)
    stable_traffic: Traffic = field(default_factory=Traffic)  # while it bakes: of its last window
    agreed: bool = False  # whom the gate asks said yes
    lacks: str = ""  # what there isn't for a canary that doesn't run yet
    answers: Sequence[Asked] = ()  # of callers on the public path; none where nobody can ask
    shadow: str = ""  # the deployment that live requests are copied to


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Judgement:
    """A verdict on a step, with its reason and its numbers."""

    outcome: Outcome
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    samples_needed: int = 0  # canary requests until it can pass


# --- what may be done next; `decide` returns exactly one -------------------------------------------------------------
@dataclass(frozen=True)
class Start:
    """Ask the fleet for the canary's deployment, with room for its share (asking twice starts nothing twice)."""

    reason: str
    at_least: int = 1  # replicas


@dataclass(frozen=True)
class FallBack:
    """Give the canary the next instance type: there is no room for the one that it has."""

    instance_type: str
    reason: str


@dataclass(frozen=True)
class Restart:
    """Stop what is left of a failed start, so that the next look starts it anew."""

    reason: str


@dataclass(frozen=True)
class Examine:
    """Ask the canary the next lines of golden.jsonl."""

    reason: str


@dataclass(frozen=True)
class Hold:
    """Do nothing; look again at `until`, if that is known."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Synthesize:
    """Ask both sides the next synthetic requests."""

    reason: str


@dataclass(frozen=True)
class Extend:
    """Give the step another step_time to gather evidence."""

    reason: str


@dataclass(frozen=True)
class Shadow:
    """Have a share of the live requests copied to the canary, whose answers nobody gets."""

    reason: str


@dataclass(frozen=True)
class Shift:
    """Go to step `step` of the plan, or restore the split that it asks for."""

    step: int
    reason: str


@dataclass(frozen=True)
class Await:
    """Wait at the gate before `weight` percent until somebody agrees."""

    weight: int
    reason: str


@dataclass(frozen=True)
class Approve:
    """Open the gate before `weight` percent: who was asked agreed."""

    weight: int
    reason: str


@dataclass(frozen=True)
class Recreate:
    """From now on stable makes room for the canary: nothing answers until it is ready."""

    reason: str


@dataclass(frozen=True)
class Stop:
    """Ask the fleet to stop a deployment that makes room for another (asking twice stops nothing twice)."""

    deployment: str
    reason: str


@dataclass(frozen=True)
class Return:
    """From now on the canary makes room for stable; once that is ready, the rollout ends as `then`."""

    reason: str
    then: Phase
    unservable: bool = False  # marks the version with the model's error
    drift: bool = False  # as of RollBack


@dataclass(frozen=True)
class StartStable:
    """Ask the fleet for stable again, once the canary has made room."""

    reason: str


@dataclass(frozen=True)
class Bake:
    """The canary gets all traffic and goes on being judged; stable stays warm."""

    reason: str


@dataclass(frozen=True)
class Promote:
    """The canary becomes the promoted deployment with all traffic."""

    reason: str


@dataclass(frozen=True)
class RollBack:
    """All traffic to stable, in one write. `phase` is the rollout's end: rolled_back, aborted or superseded.

    `drift` says that something serves otherwise than was asked: a split, a digest, a config.
    """

    reason: str
    phase: Phase = Phase.ROLLED_BACK
    drift: bool = False


@dataclass(frozen=True)
class Fail:
    """It never got ready: end without having moved traffic. `unservable` marks the version with the model's error."""

    reason: str
    unservable: bool
    drift: bool = False  # as of RollBack


OfFleet = Start | Restart | Stop | StartStable  # what the fleet is asked for; our records stay
OfModels = Examine | Synthesize  # what models are asked, past the split
Onward = Shadow | Shift | Await | Approve | Recreate | Bake | Promote
Back = Return | RollBack | Fail
Action = OfFleet | OfModels | FallBack | Hold | Extend | Onward | Back
