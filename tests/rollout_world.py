"""Rollouts in memory: versions that are dropped, wake-ups turn by turn, and what was counted."""

from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.tend import tend
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, fake_ports, settle, traffic

V1, V2, V3, V4 = (VersionRef("digits", v) for v in ("v1", "v2", "v3", "v4"))
MAR = small_mar()


def world(**changes):
    clock = FakeClock()
    return fake_ports(drop=FakeBucket(clock=clock), store=FakeBucket(clock=clock), clock=clock, **changes)


def drop(ports, ref, **files):
    ports.drop.put(f"{ref.prefix}model.mar", MAR)
    for name, text in files.items():
        ports.drop.put(f"{ref.prefix}{name}.yaml", text.encode())
    ports.clock.tick(seconds=30)
    settle(ref.prefix, ports)


def go(ports, turns=1, name="digits"):
    action = None
    for _ in range(turns):
        action = advance(name, ports)
        tend(name, ports)
    return action


def endpoint(ports, name="digits"):
    return Records(ports.registry).endpoint(name).value


def rollout(ports, ref):
    return next(r.value for r in Records(ports.registry).list(Rollout) if r.value.ref == ref)


def deployment(ports, ref):
    return rollout(ports, ref).canary.id


def live(ports, ref=V1):
    """Drop a version and let it become the endpoint's stable one."""
    drop(ports, ref)
    go(ports, 2)
    return deployment(ports, ref)


def count(ports, canary, stable, **canary_faults):
    ports.metrics.seen = {canary: traffic(400, **canary_faults), stable: traffic(4000)}
