"""Every kind of transition, told by the verbs themselves: what the samples of published events are held against.

`python -m tests.events_story` writes the samples anew, each with what the verbs tell now.
"""

import json
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from chalicelib.domain.deliveries import Answer
from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.invocation import Reply
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.webhooks import Webhook
from chalicelib.pipeline import aliases, dividing, manage
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.deliveries import hand_out, keep_answer, waiting
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Records, Stored, to_json
from chalicelib.pipeline.sweep import sweep
from chalicelib.pipeline.tend import tend
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, fake_ports, settle, traffic

DIGITS = "digits"
SAMPLES = Path(__file__).parents[1] / "events"
GOLDEN = b'{"instance": 1, "expected": 2}\n{"instance": 2, "expected": 3}\n'


class Story:
    """One endpoint's life, from a rejected upload to a deployment that had to be revived."""

    def __init__(self):
        clock = FakeClock()
        bounds = Bounds(placements=("surge", "recreate"), instance_types=("ml.g5.xlarge", "ml.m5.xlarge"))
        stores = {"drop": FakeBucket(clock=clock), "store": FakeBucket(clock=clock)}
        self.ports = fake_ports(**stores, clock=clock, bounds=bounds)

    def told(self):
        """Return the first transition of each kind."""
        self._uploads()
        self._first_version()
        self._good_version("v2")
        self._aliases()
        self._split()
        self._back_and_again()
        self._sick_version("v3")
        self._broken_version("v4")
        self._steered_version("v5")
        self._quiet_and_superseded_version("v6", "v7")
        self._examined_version("v9")
        self._shadowing_version("v10")
        self._gated_and_queued_version("v11", "v12")
        self._recreated_version("v13")
        self._fallen_back_version("v14")
        self._drifted_version("v20")
        self._revived()
        self._swept()
        self._given_up()
        return {t.kind: t for t in reversed(self.ports.registry.timeline(limit=10_000))}

    def _uploads(self):
        self.ports.drop.put("digits/v0/model.mar", b"no zip")
        self._look("v0")

    def _first_version(self):
        self._put("v1")
        settle("digits/v1/", self.ports)  # not quiet yet
        self._look("v1")
        self._go(2)
        self._put("v1", "def handle(data, context): return data")
        self._look("v1")

    def _good_version(self, name):
        canary, stable = self._tried(name)
        for _ in range(4):
            self._count(canary, stable)
            self.ports.clock.tick(seconds=61)
            self._go(1)

    def _aliases(self):
        serving = Records(self.ports.registry).endpoint(DIGITS).value
        ref = serving.deployments[serving.promoted].ref
        aliases.set_alias(DIGITS, "blue", ref, self.ports)
        aliases.remove_alias(DIGITS, "blue", self.ports)

    def _split(self):
        """Ask for a split that is kept while a version is dropped, for one that fails, and for its end."""
        dividing.ask_split(DIGITS, {"digits/v1": 50, "digits/v2": 50}, self.ports)
        self._go(2)
        self._put("v2b")
        self._look("v2b")
        self.ports.fleet.becomes["v2b"] = Running(FleetState.FAILED, reason="ValueError: no")
        dividing.ask_split(DIGITS, {"digits/v2b": 50, "digits/v2": 50}, self.ports)
        self._go(2)
        dividing.end_split(DIGITS, VersionRef(DIGITS, "v2"), self.ports)
        self._go(2)
        self._look("v2b")
        self._go(3)

    def _back_and_again(self):
        manage.roll_back(DIGITS, self.ports)
        manage.roll_back(DIGITS, self.ports)

    def _sick_version(self, name):
        self._count(*self._tried(name), errors=200)
        self.ports.clock.tick(seconds=61)
        self._go(1)

    def _drifted_version(self, name):
        canary, _ = self._tried(name)
        self.ports.fleet.running[canary] = Running(FleetState.READY, ready=1, digest="of other bytes")
        self._go(1)

    def _broken_version(self, name):
        self.ports.fleet.becomes[name] = Running(FleetState.FAILED, reason="ValueError: weights don't fit")
        self._put(name)
        self._look(name)
        self._go(2)

    def _steered_version(self, name):
        self._tried(name)
        for steer in (manage.pause, manage.resume, manage.promote, manage.abort):
            steer(DIGITS, self.ports)
        self._go(1)

    def _quiet_and_superseded_version(self, quiet, newer):
        self.ports.drop.put(f"digits/{quiet}/warmup.jsonl", b"1")
        self._tried(quiet)
        self.ports.metrics.seen = {}
        for _ in range(5):
            self.ports.clock.tick(minutes=10)
            self._go(1)
        self._put(newer)
        self._look(newer)
        manage.abort(DIGITS, self.ports)
        self._go(1)

    def _examined_version(self, name):
        self.ports.drop.put(f"digits/{name}/golden.jsonl", GOLDEN)
        self._put(name)
        self._look(name)
        self.ports.invoker.otherwise = Reply(200, b'{"predictions": [2]}', "application/json", {})
        self._go(3)

    def _gated_and_queued_version(self, gated, newer):
        plan = b"strategy: blue_green\ngates: [100]\non_newer: queue"
        self.ports.drop.put(f"digits/{gated}/deploy.yaml", plan)
        self._tried(gated)
        self._put(newer)
        self._look(newer)
        manage.approve(DIGITS, self.ports)
        self._go(1)
        for _ in (gated, newer):
            manage.abort(DIGITS, self.ports)
            self._go(2)

    def _recreated_version(self, name):
        """Let a version take stable's place, and fail to start there."""
        self.ports.drop.put(f"digits/{name}/deploy.yaml", b"placement: recreate")
        self.ports.fleet.becomes[name] = Running(FleetState.FAILED, reason="ValueError: weights don't fit")
        self._put(name)
        self._look(name)
        self._go(8)

    def _fallen_back_version(self, name):
        """Let a version have its second instance type, for want of the first."""
        self.ports.drop.put(f"digits/{name}/deploy.yaml", b"instance_types: [ml.g5.xlarge, ml.m5.xlarge]")
        self.ports.fleet.becomes[name] = Running(FleetState.FAILED, reason="no instance is free", by_fleet=True)
        self._put(name)
        self._look(name)
        self._go(4)

    def _shadowing_version(self, name):
        self.ports.drop.put(f"digits/{name}/deploy.yaml", b"shadow: {share: 10%}\n")
        self._tried(name)
        manage.abort(DIGITS, self.ports)
        self._go(1)

    def _revived(self):
        promoted = Records(self.ports.registry).endpoint(DIGITS).value.promoted
        for found in (
            Running(FleetState.READY, ready=1, digest="of other bytes"),
            Running(FleetState.FAILED, reason="exited 5 times"),
        ):
            self.ports.fleet.running[promoted] = found
            re_sync(self.ports)

    def _swept(self):
        self.ports.fleet.running["v10-0123456789ab"] = Running(FleetState.READY)
        self.ports.store.put("digits/v10/0123456789abcdef/model.mar", b"half")
        self.ports.clock.tick(hours=2)
        sweep(self.ports)

    def _given_up(self):
        """Park what a webhook's receiver won't take."""
        registry, now = self.ports.registry, self.ports.clock()
        webhook = Webhook("wh-0123456789ab", "https://ci.example.com/hook", ("copy.*",), (), now)
        registry.commit([Stored(webhook.id, webhook).write])
        hand_out(registry.unsent(limit=10_000), registry, now)
        [waits] = waiting(registry)
        keep_answer(waits, webhook, Answer(410, "answered 410 Gone"), registry, now=now, chance=0.5)

    def _tried(self, name):
        """Drop a version, let it have its first traffic, and return canary and stable."""
        self._put(name)
        self._look(name)
        self._go(2)
        rollout = next(
            r.value for r in Records(self.ports.registry).list(Rollout) if str(r.value.ref) == f"digits/{name}"
        )
        return rollout.canary.id, rollout.stable

    def _put(self, name, *code):
        self.ports.drop.put(f"digits/{name}/model.mar", small_mar(*code))

    def _look(self, name):
        self.ports.clock.tick(seconds=30)
        settle(f"digits/{name}/", self.ports)

    def _go(self, turns):
        for _ in range(turns):
            advance(DIGITS, self.ports)
            dividing.divide(DIGITS, self.ports)
            tend(DIGITS, self.ports)

    def _count(self, canary, stable, **faults):
        self.ports.metrics.seen = {canary: traffic(400, **faults), stable: traffic(4000)}


def sample(transition):
    """Return a transition as a rule's target gets it."""
    told = to_json(transition)
    return {
        "version": "0",
        "id": str(uuid5(NAMESPACE_URL, transition.id)),
        "detail-type": transition.kind,
        "source": "modeldrop",
        "account": "111122223333",
        "time": told["at"],
        "region": "eu-central-1",
        "resources": [],
        "detail": told,
    }


def write_samples():
    for kind, transition in Story().told().items():
        name = kind.replace(".", "-").replace("_", "-")
        (SAMPLES / f"bus-{name}.json").write_text(json.dumps(sample(transition), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_samples()
