"""The other ports in memory: a fleet that does what it is told, traffic as literal values, a set clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import Deployment, FleetState, Running
from chalicelib.domain.invocation import Call, NoAnswer, Reply
from chalicelib.domain.proof import Served
from chalicelib.domain.split import Split, assign, bucket
from chalicelib.domain.traffic import EDGES_MS, Traffic
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.ports import ONE, Capacity, Ports
from chalicelib.pipeline.register import register
from chalicelib.pipeline.sealing import StreamingSealer
from chalicelib.pipeline.validate import look
from chalicelib.pipeline.wakeups import REGISTER
from tests.event_check import check_event
from tests.fakes import FakeBucket
from tests.fakes_registry import FakeRegistry


def traffic(requests: int, *, errors: int = 0, rejected: int = 0, nonfinite: int = 0, ms: float = 5.0) -> Traffic:
    """Return traffic whose requests all took about `ms`."""
    at = next(i for i, edge in enumerate((*EDGES_MS, float("inf"))) if ms <= edge)
    latencies = tuple(requests if i == at else 0 for i in range(len(EDGES_MS) + 1))
    return Traffic(requests, errors, rejected, nonfinite, latencies)


@dataclass
class FakeFleet:
    """Deployments become READY when asked for, unless `becomes` says otherwise for their version id."""

    becomes: dict[str, Running] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    ensured: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    young: set[str] = field(default_factory=set)
    capacities: dict[str, Capacity] = field(default_factory=dict)
    lacking: str = ""  # what there isn't for any that doesn't run

    def ensure(self, deployment: Deployment, capacity: Capacity = ONE) -> None:
        self.capacities[deployment.id] = capacity
        if deployment.id not in self.running:
            self.ensured.append(deployment.id)
            ready = Running(FleetState.READY, ready=deployment.resources.replicas, digest=deployment.digest)
            self.running[deployment.id] = self.becomes.get(deployment.ref.version_id, ready)

    def observe(self, deployment_id: str) -> Running:
        return self.running.get(deployment_id, Running(FleetState.ABSENT))

    def lacks(self, deployment: Deployment) -> str:
        return self.lacking

    def stop(self, deployment_id: str) -> None:
        if self.running.pop(deployment_id, None):
            self.stopped.append(deployment_id)

    def deployments(self, before: datetime | None = None) -> Sequence[str]:
        """Everything is old here, but for what `young` names."""
        return sorted(set(self.running) - (self.young if before else set()))


@dataclass
class FakeInvoker:
    """Deployments that answer: a Reply, an error to raise, or what a function of the call returns."""

    answers: dict[str, object] = field(default_factory=dict)
    otherwise: object = None  # what every other deployment answers; None: nothing
    calls: list[tuple[str, Call, float]] = field(default_factory=list)

    def invoke(self, deployment_id: str, call: Call, seconds: float) -> Reply:
        self.calls.append((deployment_id, call, seconds))
        answer = self.answers.get(deployment_id, self.otherwise) or NoAnswer(f"deployment {deployment_id} isn't there")
        answer = answer(call) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def called(self) -> list[str]:
        return [deployment for deployment, _, _ in self.calls]


@dataclass
class FakeMetrics:
    seen: dict[str, Traffic] = field(default_factory=dict)
    rates: dict[str, float | None] = field(default_factory=dict)

    def traffic(self, deployment_id: str, since: datetime) -> Traffic:
        return self.seen.get(deployment_id, Traffic())

    def rate(self, deployment_id: str) -> float | None:
        return self.rates.get(deployment_id, 0.0)


@dataclass
class FakeProber:
    """Endpoints as the public path serves them: the split in force, and what each deployment says that it is."""

    splits: dict[str, tuple[Split, dict[str, Served]]] = field(default_factory=dict)

    def ask(self, endpoint: str, keys: Sequence[str]) -> dict[str, Served]:
        split, served = self.splits.get(endpoint, (Split(), {}))
        chosen = {key: assign(split, bucket(key, split.salt)) for key in keys if split.weights}
        return {key: served[deployment] for key, deployment in chosen.items() if deployment in served}


@dataclass
class FakeTimers:
    due: dict[str, datetime] = field(default_factory=dict)

    def set(self, name: str, at: datetime) -> None:
        self.due[name] = min(at, self.due.get(name, at))


@dataclass
class FakeBus:
    published: list[Transition] = field(default_factory=list)

    def publish(self, transitions: Sequence[Transition]) -> None:
        self.published.extend(transitions)


@dataclass
class FakeClock:
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, **amount: float) -> None:
        self.now += timedelta(**amount)


def fake_ports(**changes) -> Ports:
    given = {
        "drop": FakeBucket(),
        "store": FakeBucket(),
        "registry": FakeRegistry(check=check_event),
        "fleet": FakeFleet(),
        "invoker": FakeInvoker(),
        "metrics": FakeMetrics(),
        "timers": FakeTimers(),
        "bus": FakeBus(),
        "clock": FakeClock(),
        "bounds": Bounds(),
    }
    given |= changes
    return Ports(**{"sealer": StreamingSealer(given["drop"], given["store"]), **given})


def settle(prefix: str, ports: Ports) -> None:
    """Look at an upload and register it if that was asked for, as the wake-ups would."""
    look(prefix, ports)
    if ports.timers.due.pop(REGISTER + prefix, None):
        register(prefix, ports)
