"""Every way that the path on AWS can be cut: `python -m tests.aws.explore SCENARIO MISHAP [EVERY]`, a line for each.

Every outgoing call that a function makes is numbered. At each number this process forks: in the child the function dies
there (or the call is throttled, or its answer is lost, or it gets an older answer), and what would wake it again does;
the parent goes on undisturbed to the next number. So each cut costs what comes after it, and nothing before it.

Two cuts leave the same world outside if they happen in the same invocation after the same effects, for a function that
died remembers nothing: of such only the first is gone through. EVERY of 3 goes through each third of the rest.
"""

import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, cached_property
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.handlers import BUILTIN_HANDLERS
from moto import mock_aws

from chalicelib.adapters.dynamodb_traffic import DynamoTraffic
from chalicelib.adapters.sagemaker_names import group_name
from chalicelib.domain.refs import is_ours
from tests.aws import aws_world
from tests.aws.aws_world import World, in_the_fake, moto_config
from tests.aws.stack import CREDENTIALS, REGION, Mapped, Stack
from tests.fakes_artifacts import small_mar
from tests.fakes_sagemaker import Fate

MISHAPS = ("dies", "throttled", "answer lost", "stale")
PLAN = b"steps: [50, 100]\nstep_time: 70s\nkeep_warm: 10s\nthresholds: {min_requests: 10}\n"
# Versions, one after another. The way of the first one is cut everywhere; a later one's, from its first traffic on.
SCENARIOS: Mapping[str, Sequence[str]] = {"first": ("1",), "good": ("1", "2"), "sick": ("1", "sick")}
_READS = ("Get", "List", "Describe", "Head", "Query", "BatchGet", "InvokeEndpoint")
_DONE = {"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"}  # it was worked on before
_PHASES = {"promoted", "rolled_back", "failed"}
_COUNTED = timedelta(seconds=10)  # after a step began: what is counted sooner may be of the step before
_MOST = 400  # turns until a path must have ended
_AT_ONCE = os.cpu_count() or 2


class Died(BaseException):
    """The function's process is gone."""


def is_read(operation: str) -> bool:
    return operation.startswith(_READS)


# --- the numbered calls -----------------------------------------------------------------------------------------------
@dataclass
class Calls:
    """Watches what functions call, on botocore's own hooks; `cut` is asked at each number, before and after."""

    cut: Callable[[str, str, "Calls"], Any] = lambda *_: None
    number: int = 0
    invocation: int = 0
    effects: int = 0
    told: dict[str, tuple[str, str]] = field(default_factory=dict)  # the bus: kind and subject by id
    answers: dict[str, Any] = field(default_factory=dict)  # the last answer to each question
    asked: str = ""
    older: Any = None  # what the present question was answered before

    @contextmanager
    def watched(self) -> Iterator[None]:
        specs = [("before-call", self.before), ("after-call", self.after)]
        BUILTIN_HANDLERS.extend(specs)
        boto3.DEFAULT_SESSION = Reusing()
        try:
            yield
        finally:
            for spec in specs:
                BUILTIN_HANDLERS.remove(spec)
            boto3.DEFAULT_SESSION = None

    def before(self, model: Any, params: Mapping[str, Any], **_: Any) -> Any:
        """Number a function's call; what is returned stands for the service's answer."""
        if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
            return None  # the world's own
        self.number += 1
        self.asked = f"{model.name} {params.get('url_path')} {params.get('body')!r}"
        self.older = self.answers.get(self.asked)
        self.published = params.get("body") if model.name == "PutEvents" else None
        return self.cut("before", model.name, self)

    def after(self, model: Any, parsed: Any, **_: Any) -> None:
        if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
            return
        self.effects += not is_read(model.name)
        self.answers[self.asked] = parsed
        if self.published and not parsed["FailedEntryCount"]:
            details = [json.loads(e["Detail"]) for e in json.loads(self.published)["Entries"]]
            self.told |= {d["id"]: (d["kind"], d["subject"]) for d in details}
        self.cut("after", model.name, self)


class Reusing(boto3.Session):
    """Makes each client once: a cold start's own clients are the same, and cost what a path costs."""

    @cache  # noqa: B019 - one session a process
    def _made(self, service: str) -> Any:
        return super().client(service, region_name=REGION)

    def client(self, service: str, *_: Any, **__: Any) -> Any:
        return self._made(service)


@dataclass
class Stubborn(Stack):
    """A stack whose functions may die: what they were given comes again, and they start cold."""

    calls: Calls = field(default_factory=Calls)
    __hash__ = object.__hash__

    @cache  # noqa: B019 - one stack a process
    def environment(self, function: str) -> dict[str, str]:
        return super().environment(function)

    def invoke(self, function: str, event: Any) -> Any:
        self.calls.invocation += 1
        return super().invoke(function, event)

    def deliver(self) -> int:
        taken = [(mapped, message) for mapped in self.mappings for message in self._receive(mapped)]
        try:
            for mapped, messages in self._batches(taken):
                self._feed(mapped, messages)
        except Died:
            self.cold_start()
            for mapped, message in taken:
                self._come_again(mapped, message)
        return len(taken)

    def _come_again(self, mapped: Mapped, message: Mapping[str, Any]) -> None:
        try:
            self._show_again(mapped, message)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _DONE:
                raise

    def schedule(self) -> None:
        try:
            super().schedule()
        except Died:
            self.cold_start()
        except Exception:  # noqa: BLE001 - the next one does it; `failures` has it
            pass


# --- a path -----------------------------------------------------------------------------------------------------------
@dataclass
class Course:
    """Drops versions one after another and lets time pass, whatever happens in between."""

    world: World
    stack: Stubborn
    versions: Sequence[str]
    dropped: int = 0
    fed: set[tuple[str, int]] = field(default_factory=set)
    is_of_interest: bool = False

    def go(self) -> dict[str, Any]:
        """Go from wherever it is to the end, and return what must be the same each time."""
        quiet = 0
        for turn in range(_MOST):
            self.stack.settle()
            self._drop_next()
            self._feed()
            quiet = 0 if self._moves() else quiet + 1
            if quiet > 2:  # two re-syncs, two hours apart, have found what was left to do
                return self.outcome()
            self._pass_time(turn, quiet)
        raise AssertionError(f"no end after {_MOST} turns: {self.stack.failures[-3:]}")

    def _drop_next(self) -> None:
        """Drop the next version when the one before has come to its end."""
        ended = [r for r in aws_world.rollouts(self.stack) if r.phase in _PHASES]
        if len(ended) == self.dropped < len(self.versions):
            version = self.versions[self.dropped]
            self.dropped += 1
            self.stack.put(f"m/{version}/deploy.yaml", PLAN)
            self.stack.put(f"m/{version}/model.mar", small_mar())

    def _feed(self) -> None:
        """Give both sides of a step the traffic that it needs, once."""
        rollouts = aws_world.rollouts(self.stack)
        self.is_of_interest |= len(self.versions) == 1 or any(r.phase == "stepping" for r in rollouts)
        for rollout in rollouts:
            step = (rollout.id, rollout.step)
            began = rollout.step_since
            if began and self.stack.now >= began + _COUNTED and step not in self.fed:
                self.fed.add(step)
                self._count(rollout.stable, 200)
                self._count(rollout.canary.id, 500 if rollout.ref.version_id == "sick" else 200)

    def _count(self, deployment: str, status: int) -> None:
        for _ in range(22):
            self._traffic.count(deployment, status=status, milliseconds=5.0, nonfinite=False)

    @cached_property
    def _traffic(self) -> DynamoTraffic:
        stack = self.stack
        return DynamoTraffic(stack.client("dynamodb"), stack.physical("Table"), lambda: stack.now)

    def _moves(self) -> bool:
        open_ = [r for r in aws_world.rollouts(self.stack) if r.phase not in _PHASES]
        return bool(open_ or self.dropped < len(self.versions) or self.stack.timers())

    def _pass_time(self, turn: int, quiet: int) -> None:
        """Let the next timer fire; now and then, and when nothing else moves, a re-sync."""
        coming = min(self.stack.timers().values(), default=self.stack.now + timedelta(hours=2 * bool(quiet)))
        self.stack.fire_timers(coming)
        if quiet or turn % 15 == 14:
            self.stack.schedule()

    def outcome(self) -> dict[str, Any]:
        stack = self.stack
        endpoint = aws_world.endpoint(stack, "m")
        names = {id_: str(d.ref) for id_, d in endpoint.deployments.items()}
        kept = {v.store_prefix for v in aws_world.versions(stack).values()}
        sealed = {o.rpartition("/")[0] + "/" for o in _keys(stack, stack.store) if not o.startswith("_")}
        sagemaker = stack.client("sagemaker")
        reports = sorted(key for key in _keys(stack, stack.drop) if is_ours(key))
        told = Counter(pair for pair in stack.calls.told.values() if not pair[0].endswith(".swept"))
        return {
            "digests": {ref: v.digest for ref, v in sorted(aws_world.versions(stack).items())},
            "rollouts": sorted(f"{r.ref} {r.phase}" for r in aws_world.rollouts(stack)),
            "split": {names[id_]: weight for id_, weight in endpoint.split.weights.items()},
            "promoted": names[endpoint.promoted],
            "deployments": sorted(names.values()),
            "copies that no version names": len(sealed - kept),
            "endpoints": len(sagemaker.list_endpoints()["Endpoints"]),
            "configs": len(sagemaker.list_endpoint_configs()["EndpointConfigs"]),
            "models": len(sagemaker.list_models()["Models"]),
            "catalogue": sorted(f"{v.ref} {v.catalogued}" for v in aws_world.versions(stack).values()),
            "packages": _packages(stack),
            "reports": reports,
            "told": sorted(f"{kind} {subject} {times}" for (kind, subject), times in told.items()),
        }


def _keys(stack: Stack, bucket: str) -> list[str]:
    return [o["Key"] for o in stack.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


def _packages(stack: Stack) -> list[str]:
    group = group_name(stack.prefix.removeprefix("md-"), "m")
    found = stack.client("sagemaker").get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    packages = [p for page in found for p in page["ModelPackageSummaryList"]]
    return sorted(f"{p['ModelPackageVersion']} {p['ModelApprovalStatus']}" for p in packages)


# --- the cuts ---------------------------------------------------------------------------------------------------------
@dataclass
class Explorer:
    """Forks at each call where a mishap is possible; a child writes one line and is gone."""

    mishap: str
    path: Course
    every: int = 1
    stands_for: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    running: int = 0

    def cut(self, when: str, operation: str, calls: Calls) -> Any:
        key = self._key(when, operation, calls)
        if key is None or not self.path.is_of_interest:
            return None
        self.stands_for[key] += 1
        if self.stands_for[key] > 1 or (len(self.stands_for) - 1) % self.every:
            return None
        place = f"{when} call {calls.number}, {operation} of {os.environ['AWS_LAMBDA_FUNCTION_NAME'][12:]}"
        return self._fork(place, operation, calls)

    def _key(self, when: str, operation: str, calls: Calls) -> tuple[Any, ...] | None:
        """Return what tells one cut from another; None where this mishap can't happen."""
        function = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        match self.mishap:
            case "dies":
                return (calls.invocation, calls.effects)
            case "throttled" if when == "before":
                return (function, operation)
            case "answer lost" if when == "after" and not is_read(operation):
                return (calls.number,)
            case "stale" if when == "before" and operation.startswith("Describe") and calls.older:
                return (calls.number,)
        return None

    def _fork(self, place: str, operation: str, calls: Calls) -> Any:
        while self.running >= _AT_ONCE:
            self._reap()
        self.running += 1
        if pid := os.fork():
            del pid
            return None
        calls.cut = lambda *_: None
        self.is_child, self.place = True, place
        match self.mishap:
            case "dies":
                raise Died
            case "throttled":
                error = {"Code": "ThrottlingException", "Message": "Rate exceeded"}
                return AWSResponse("", 400, {}, None), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}
            case "answer lost":
                raise ReadTimeoutError(endpoint_url=f"https://{operation}")
        return AWSResponse("", 200, {}, None), calls.older

    def _reap(self) -> None:
        _, status = os.wait()
        self.running -= 1
        self.lost += status != 0  # it died of something else, and said of what on stderr

    is_child = False
    place = "undisturbed"
    lost = 0

    def run(self) -> None:
        outcome = self.path.go()
        if not self.is_child:
            while self.running:
                self._reap()
        print(json.dumps({"place": self.place, "outcome": outcome}), flush=True)
        if self.is_child:
            os._exit(0)
        cuts = {"calls": self.path.stack.calls.number, "cuts": sum(self.stands_for.values()), "lost": self.lost}
        print(json.dumps(cuts), flush=True)


def main(scenario: str, mishap: str, every: str = "1") -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it, and starts us, would take our children away
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION}
    calls = Calls()
    with mock_aws(config=moto_config()), in_the_fake() as world, calls.watched():
        world.sick.add("m/sick")
        world.aws.fate = lambda _: Fate(seconds=50)
        stack = Stubborn.create()
        stack.calls = calls
        world.stacks.append(stack)
        explorer = Explorer(mishap, Course(world, stack, SCENARIOS[scenario]), int(every))
        calls.cut = explorer.cut
        # What is alive now stays so, in each child as well: to look through it again and again is a fifth of the time.
        gc.freeze()
        gc.disable()
        explorer.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
