"""One simulated rollout under our own rules: the real `decide()` and the real moves, in virtual time.

The fleet is always ready, so that what decides is the judge. A look comes after every failed request of the canary and
at each half second in which something came, as on the platform; a look at which nothing is new would say the same.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil, inf

from benchmarks.judge_world import DAY, Block, World, requests
from chalicelib.domain.decide import decide
from chalicelib.domain.deployment import Deployment, Endpoint, FleetState, Resources, Running
from chalicelib.domain.moves import ended, shifted
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Action, Extend, Hold, Observation, Plan, Promote, RollBack, Rollout, Shift
from chalicelib.domain.split import WHOLE, Split
from chalicelib.domain.traffic import EDGES_MS, Traffic

PACE = 0.5  # seconds between two looks, as `Ports.pace`
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_REF = VersionRef("model", "2")


@dataclass(frozen=True)
class End:
    """How a rollout ended: promoted, rolled back, aborted (by its own policy) or, at the horizon, still held."""

    outcome: str
    seconds: float
    canary_requests: int  # in all steps
    reason: str = ""
    step_requests: int = 0  # of the canary, in the last step


@dataclass
class Seen:
    """What was counted of one side in the step's window, of which the last day counts."""

    counts: list[int] = field(default_factory=lambda: [0, 0])  # requests, errors
    latencies: list[int] = field(default_factory=lambda: [0] * (len(EDGES_MS) + 1))
    kept: deque[tuple[float, int]] = field(default_factory=deque)  # when, and in which bucket (-1: an error)

    def add(self, at: float, bucket: int) -> None:
        self._count(bucket, 1)
        self.kept.append((at, bucket))
        while self.kept[0][0] < at - DAY:
            self._count(self.kept.popleft()[1], -1)

    def _count(self, bucket: int, by: int) -> None:
        self.counts[0] += by
        if bucket < 0:
            self.counts[1] += by
        else:
            self.latencies[bucket] += by

    @property
    def traffic(self) -> Traffic:
        return Traffic(*self.counts, latencies=self.latencies)


@dataclass
class Run:
    """A rollout on its way, with the endpoint that it moves and what was seen of its step."""

    rollout: Rollout
    endpoint: Endpoint
    canary: Seen = field(default_factory=Seen)
    stable: Seen = field(default_factory=Seen)
    served: int = 0  # requests that the canary answered

    @classmethod
    def of(cls, plan: Plan) -> "Run":
        stable, canary = (Deployment(i, "e", _REF, i, i, Resources()) for i in ("stable", "canary"))
        endpoint = Endpoint("e", "model", {"stable": stable}, Split({"stable": WHOLE}), promoted="stable")
        return cls(Rollout("r", "e", _REF, canary, "stable", plan, _BEGIN), endpoint)

    def look(self, at: float) -> Action:
        """Do what is decided at a moment, and return it."""
        now = _BEGIN + timedelta(seconds=at)
        action = decide(self.rollout, self._seen(), now)
        match action:
            case Shift(step, reason):
                self.endpoint, self.rollout = shifted(self.endpoint, self.rollout, step, reason, now)
                self.canary, self.stable = Seen(), Seen()
            case Extend():
                self.rollout = replace(self.rollout, extensions=self.rollout.extensions + 1)
            case RollBack(reason, phase):
                self.endpoint, self.rollout = ended(self.endpoint, self.rollout, phase, reason, now)
        return action

    def _seen(self) -> Observation:
        canary, stable = (Running(FleetState.READY, ready=1, digest=i) for i in ("canary", "stable"))
        return Observation(canary, stable, self.endpoint.split, self.canary.traffic, self.stable.traffic)

    def take(self, request: "Request") -> bool:
        """Let the side answer that the split says; return whether that was a failure of the canary."""
        if request.position >= self.rollout.weight:
            self.stable.add(request.at, request.stable)
            return False
        self.served += 1
        self.canary.add(request.at, request.canary)
        return request.canary < 0

    def end(self, outcome: str, at: float, reason: str) -> End:
        return End(outcome, at, self.served, reason, self.canary.counts[0])


@dataclass(frozen=True, slots=True)
class Request:
    """A request and, for either side, the bucket of its latency (-1: it fails)."""

    at: float
    position: float
    canary: int
    stable: int


def rolled_out(world: World, seed: int, *, plan: Plan, horizon: float) -> End:
    """Roll out once, up to a horizon in seconds."""
    run, waiting = Run.of(plan), _requests(world, seed)
    request = next(waiting)
    at = 0.0
    while at <= horizon:
        action = run.look(at)
        match action:
            case Promote(reason):
                return run.end("promoted", at, reason)
            case RollBack(reason, phase):
                return run.end(str(phase), at, reason)
        due = at + PACE if not isinstance(action, Hold) else _seconds(action.until)
        at = min(due, _tick(request.at))
        while request.at <= at:
            alarming = run.take(request)
            at = request.at if alarming else at
            request = next(waiting)
    return run.end("held", horizon, run.rollout.reason)


def _requests(world: World, seed: int) -> Iterator[Request]:
    for block in requests(world, seed):
        yield from map(Request, *_columns(block))


def _columns(block: Block) -> tuple[list[float], list[float], list[int], list[int]]:
    canary = [
        -1 if bad else bisect_left(EDGES_MS, ms) for bad, ms in zip(block.canary_failed, block.canary_ms, strict=True)
    ]
    stable = [
        -1 if bad else bisect_left(EDGES_MS, ms) for bad, ms in zip(block.stable_failed, block.stable_ms, strict=True)
    ]
    return block.at.tolist(), block.position.tolist(), canary, stable


def _tick(at: float) -> float:
    return ceil(at / PACE) * PACE


def _seconds(until: datetime | None) -> float:
    return (until - _BEGIN).total_seconds() if until else inf
