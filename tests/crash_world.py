"""A process that dies at any of its outgoing calls and starts again, for proofs by crashing.

Every outgoing call of a path is numbered. For each number the path runs once more, dies there, and is started again as
the platform starts again: with a fleet that lost its replicas, a re-sync, and nothing else remembered.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.invocation import Reply
from chalicelib.domain.refs import VersionRef, is_ours
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.version import Version
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.dividing import divide
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.register import register
from chalicelib.pipeline.restore import begin_windows_anew, restore
from chalicelib.pipeline.sweep import sweep
from chalicelib.pipeline.tend import tend
from chalicelib.pipeline.validate import look
from chalicelib.pipeline.wakeups import LOOK, REGISTER
from tests.event_check import check_event
from tests.fakes import FakeBucket
from tests.fakes_pipeline import FakeBus, FakeClock, FakeFleet, FakeInvoker, FakeMetrics, fake_ports, traffic
from tests.fakes_registry import FakeRegistry

ACTS = {
    "drop": ("put",),
    "store": ("put_parts", "delete"),
    "registry": ("commit", "mark_sent"),
    "fleet": ("ensure", "stop"),
    "bus": ("publish",),
}
BAD = VersionRef("m", "v3")


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Fuse:
    """Counts calls, and blows at one of them."""

    at: int = 0  # 0: never
    after: bool = False
    count: int = 0

    def around(self, call):
        def run(*args, **kwargs):
            self.count += 1
            blows = self.count == self.at
            if blows and not self.after:
                raise Crash
            done = call(*args, **kwargs)
            if blows:
                raise Crash
            return done

        return run


class Fused:
    """A port whose acts go through the fuse."""

    def __init__(self, port, acts, fuse) -> None:
        self._port = port
        for act in acts:
            setattr(self, act, fuse.around(getattr(port, act)))

    def __getattr__(self, name):
        return getattr(self._port, name)


@dataclass
class World:
    """What outlives a crash, and traffic that is bad for v3 and good for all else."""

    clock: FakeClock = field(default_factory=FakeClock)
    registry: FakeRegistry = field(default_factory=lambda: FakeRegistry(check=check_event))
    bus: FakeBus = field(default_factory=FakeBus)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)

    def __post_init__(self) -> None:
        self.drop = FakeBucket(clock=self.clock)
        self.store = FakeBucket(clock=self.clock)

    def start(self, fuse: Fuse) -> Ports:
        ports = fake_ports(
            drop=self.drop,
            store=self.store,
            registry=self.registry,
            fleet=FakeFleet(),
            invoker=FakeInvoker(otherwise=Reply(200, b'{"predictions": [2]}', "application/json", {})),
            metrics=self.metrics,
            bus=self.bus,
            clock=self.clock,
            slice=timedelta(0),  # one line at each wake-up
        )
        return fake_ports(**{**vars(ports), **{n: Fused(getattr(ports, n), acts, fuse) for n, acts in ACTS.items()}})

    def see_traffic(self) -> None:
        for rollout in Records(self.registry).list(Rollout):
            errors = 100 if rollout.value.ref == BAD else 0
            self.metrics.seen[rollout.value.canary.id] = traffic(400, errors=errors)

    def outcome(self) -> dict:
        """What must be the same, whatever happened in between."""
        records = Records(self.registry)
        endpoint = records.endpoint("m").value
        kept = {v.value.store_prefix for v in records.list(Version)}
        told = self.bus.published  # at least once each: a receiver tells repeats by their ids
        names = {d.id: d.ref for d in endpoint.deployments.values()}
        return {
            "digests": {v.value.ref: v.value.digest for v in records.list(Version)},
            "rollouts": sorted((r.value.ref, r.value.phase) for r in records.list(Rollout)),
            "split": {names[i]: w for i, w in endpoint.split.weights.items()},
            "promoted": names[endpoint.promoted],
            "deployments": set(names.values()),
            "reports": {o.key: self.drop.get(o.key) for o in self.drop.list() if is_ours(o.key)},
            "examined": sorted((r.value.ref, r.value.exam.asked) for r in records.list(Rollout) if r.value.exam),
            "stored": len({o.key.rpartition("/")[0] + "/" for o in self.store.list()} - kept),
            # What a crash left behind is said to be swept, and only then.
            "told": sorted((k, s) for _, k, s in {(t.id, t.kind, t.subject) for t in told} if not k.endswith(".swept")),
        }


def turn(ports: Ports, world: World) -> None:
    """Everything that would be woken in a while, once."""
    world.clock.tick(seconds=61)
    world.see_traffic()
    re_sync(ports)
    for name in [n for n in ports.timers.due if n.startswith(LOOK)]:
        look(name.removeprefix(LOOK), ports)
    for name in [n for n in ports.timers.due if n.startswith(REGISTER)]:
        register(name.removeprefix(REGISTER), ports)
    for endpoint in Records(ports.registry).list(Endpoint):
        advance(endpoint.id, ports)
        divide(endpoint.id, ports)
        tend(endpoint.id, ports)
    sweep(ports)
    announce(ports)


def restart(world: World, fuse: Fuse) -> Ports:
    ports = world.start(fuse)
    restore(ports)
    begin_windows_anew(ports)
    return ports


def survive(ports: Ports, world: World, fuse: Fuse) -> Ports:
    """Take one turn, and start again after a crash."""
    try:
        turn(ports, world)
    except Crash:
        return restart(world, fuse)
    return ports
