"""From an object in the deployed bucket to a promoted version, and back, through all that the template makes."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from chalicelib.domain.refs import is_ours
from chalicelib.domain.rollout import JUDGED, Phase, Rollout
from tests.aws.aws_world import World, api_key, endpoint, rollouts, versions
from tests.aws.rest_gateway import Reply, RestGateway
from tests.aws.stack import ALL_ON, PARAMETERS, Mishaps, Stack
from tests.fakes_artifacts import HANDLER, small_mar
from tests.validation.byhand import meta_graph, saved_model

ARCHIVE = {"model.mar": small_mar()}
SAVED_MODEL = {"saved_model.pb": saved_model(meta_graph())}
OTHER = {"model.mar": small_mar(HANDLER + "\n# retrained\n")}
# Few requests are enough, so that a test needn't send thousands.
PLAN = b"steps: [50, 100]\nstep_time: 60\nthresholds: {min_requests: 10}\n"
AT_ONCE = 30  # requests between two timers: with half of them the canary has its ten


def drop(stack: Stack, ref: str, files: dict[str, bytes]) -> None:
    for path, body in files.items():
        stack.put(f"{ref}/{path}", body)


@dataclass
class App:
    """Calls an endpoint whenever time has passed, once there is one."""

    stack: Stack
    name: str
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = api_key(self.stack, f"predict:{self.name}")
        self.api = RestGateway(self.stack)

    def call(self) -> Reply:
        url = f"/v1/endpoints/{self.name}:predict"
        self.replies.append(self.api.call("POST", url, {"instances": [1, 2]}, key=self.key))
        return self.replies[-1]

    def until(self, reached: Callable[[], bool]) -> Callable[[], bool]:
        """Return a condition that calls AT_ONCE times whenever it isn't met and a canary is being tried."""

        def called() -> bool:
            met = reached()
            is_tried = any(rollout.phase in JUDGED for rollout in rollouts(self.stack))
            for _ in range(AT_ONCE if is_tried and not met else 0):
                self.call()
            return met

        return called


def ended(stack: Stack, ref: str) -> Callable[[], bool]:
    return lambda: any(str(r.ref) == ref and not r.is_open for r in rollouts(stack))


def rollout_of(stack: Stack, ref: str) -> Rollout:
    [found] = [r for r in rollouts(stack) if str(r.ref) == ref]
    return found


def weights(stack: Stack, name: str) -> dict[str, int]:
    """Return an endpoint's split by version id."""
    found = endpoint(stack, name)
    assert found
    return {found.deployments[at].ref.version_id: weight for at, weight in found.split.weights.items()}


def running(world: World) -> set[str]:
    """Return MODEL/VERSION of every SageMaker endpoint there is."""
    return {world.aws.hosting.tags[e.arn]["modeldrop:version"] for e in world.aws.hosting.endpoints()}


@pytest.mark.parametrize("files", [ARCHIVE, SAVED_MODEL], ids=["archive", "saved_model"])
def test_what_is_put_into_the_bucket_is_served_and_told(world: World, files: dict[str, bytes]) -> None:
    stack = world.stack()
    heard = stack.listen()
    drop(stack, "digits/1", files)
    stack.run(ended(stack, "digits/1"))
    assert rollout_of(stack, "digits/1").phase == Phase.PROMOTED
    assert weights(stack, "digits") == {"1": 100}
    reply = App(stack, "digits").call()
    assert (reply.status, len(reply.json["predictions"])) == (200, 2)
    assert reply.headers["x-modeldrop-version"] == "1"
    assert reply.headers["x-modeldrop-digest"] == versions(stack)["digits/1"].digest
    kinds = [event["detail-type"] for event in heard()]
    assert [k for k in kinds if k in MILESTONES] == MILESTONES
    assert not stack.failures


MILESTONES = ["version.registered", "rollout.opened", "rollout.promoted"]


@pytest.mark.slow
def test_a_better_version_takes_over_step_by_step(world: World) -> None:
    stack = world.stack()
    drop(stack, "digits/1", ARCHIVE)
    stack.run(ended(stack, "digits/1"))
    app = App(stack, "digits")
    drop(stack, "digits/2", OTHER | {"deploy.yaml": PLAN})
    stack.run(app.until(ended(stack, "digits/2")))
    assert rollout_of(stack, "digits/2").phase == Phase.PROMOTED
    assert weights(stack, "digits") == {"2": 100}
    assert {reply.status for reply in app.replies} == {200}
    assert {reply.headers["x-modeldrop-version"] for reply in app.replies} == {"1", "2"}
    assert not stack.failures


def test_a_sick_canary_is_rolled_back_and_stable_serves_on(world: World) -> None:
    stack = world.stack()
    heard = stack.listen()
    drop(stack, "digits/1", ARCHIVE)
    stack.run(ended(stack, "digits/1"))
    app = App(stack, "digits")
    world.sick.add("digits/2")
    drop(stack, "digits/2", OTHER | {"deploy.yaml": PLAN})
    stack.run(app.until(ended(stack, "digits/2")))
    rolled = rollout_of(stack, "digits/2")
    assert rolled.phase == Phase.ROLLED_BACK
    assert "error" in rolled.reason
    assert weights(stack, "digits") == {"1": 100}
    deadline = time.monotonic() + 30  # a warm function remembers the split for two seconds
    while {app.call().status for _ in range(10)} != {200}:
        assert time.monotonic() < deadline
        time.sleep(0.5)  # the endpoint takes 50 requests a second
    told = [event["detail"] for event in heard() if event["detail-type"] == "rollout.rolled_back"]
    assert [event["subject"] for event in told] == ["digits"]
    assert not stack.failures


def test_a_version_that_misses_its_golden_file_never_has_traffic(world: World) -> None:
    stack = world.stack()
    heard = stack.listen()
    drop(stack, "digits/1", ARCHIVE | {"golden.jsonl": b'{"instance": 1, "expected": 0}'})
    stack.run(ended(stack, "digits/1"))
    assert rollout_of(stack, "digits/1").phase == Phase.PROMOTED
    drop(stack, "digits/2", OTHER | {"golden.jsonl": b'{"instance": 1, "expected": 0.5}'})
    stack.run(ended(stack, "digits/2"))
    failed = rollout_of(stack, "digits/2")
    assert failed.phase == Phase.FAILED
    assert "1 of 1 lines missed; line 1: expected 0.5, got 0" in failed.reason
    assert weights(stack, "digits") == {"1": 100}
    kinds = [event["detail-type"] for event in heard() if event["detail"]["data"].get("version") == "digits/2"]
    assert kinds == ["rollout.opened", "rollout.examined", "rollout.failed"]
    assert not stack.failures


SHADOWED = ["rollout.opened", "rollout.shadowing", "rollout.shifted"]
SHADOW = PLAN + b"shadow: {share: 100%, for: 60, min_requests: 10}\n"


def test_a_shadow_that_agrees_goes_on_and_its_answers_reach_nobody(world: World) -> None:
    stack = world.stack()
    heard = stack.listen()
    drop(stack, "digits/1", ARCHIVE)
    stack.run(ended(stack, "digits/1"))
    app = App(stack, "digits")
    drop(stack, "digits/2", OTHER | {"deploy.yaml": SHADOW})
    stack.run(app.until(lambda: any(r.step == 0 for r in rollouts(stack) if str(r.ref) == "digits/2")))
    assert {reply.headers["x-modeldrop-version"] for reply in app.replies} == {"1"}
    kinds = [event["detail-type"] for event in heard() if event["detail"]["data"].get("version") == "digits/2"]
    assert [kind for kind in kinds if kind != "rollout.extended"] == SHADOWED
    assert "predictions agree" in rollout_of(stack, "digits/2").reason
    assert not stack.failures


def test_a_shadow_that_disagrees_ends_and_what_it_disagreed_on_is_kept_where_that_is_allowed(world: World) -> None:
    stack = world.stack({**PARAMETERS, "Bounds": '{"keep_disagreements": true}'})
    drop(stack, "digits/1", ARCHIVE)
    stack.run(ended(stack, "digits/1"))
    app = App(stack, "digits")
    world.odd.add("digits/2")
    wish = SHADOW.replace(b"share: 100%", b"share: 100%, keep_disagreements: true")
    drop(stack, "digits/2", OTHER | {"deploy.yaml": wish})
    stack.run(app.until(ended(stack, "digits/2")))
    failed = rollout_of(stack, "digits/2")
    assert (failed.phase, weights(stack, "digits")) == (Phase.FAILED, {"1": 100})
    assert "predictions agree, 90.0% wanted" in failed.reason
    assert {reply.headers["x-modeldrop-version"] for reply in app.replies} == {"1"}
    url = f"/v1/disagreements/{failed.id}"
    kept = RestGateway(stack).call("GET", url, key=api_key(stack, "admin")).json["disagreements"]
    assert kept[0]["why"].startswith("expected 0, got 1")
    assert not stack.failures


def test_a_copy_that_comes_twice_is_asked_once(world: World) -> None:
    stack = world.stack()
    drop(stack, "digits/1", ARCHIVE)
    stack.run(ended(stack, "digits/1"))
    app = App(stack, "digits")
    drop(stack, "digits/2", OTHER | {"deploy.yaml": SHADOW})
    stack.mishaps = Mishaps(double=1.0)
    stack.run(app.until(lambda: any(r.step == 0 for r in rollouts(stack) if str(r.ref) == "digits/2")))
    agreed = rollout_of(stack, "digits/2").reason
    compared = int(agreed.split(" predictions agree")[0].rsplit(" ", 1)[1])
    assert compared <= 2 * len(app.replies)  # two instances each
    assert not stack.failures


@pytest.mark.slow
def test_every_option_at_once_reaches_the_models(world: World) -> None:
    stack = world.stack(ALL_ON)
    drop(stack, "digits/1", ARCHIVE)
    stack.run(ended(stack, "digits/1"))
    assert rollout_of(stack, "digits/1").phase == Phase.PROMOTED
    [model] = [asked for operation, asked in world.aws.calls if operation == "CreateModel"]
    [config] = [asked for operation, asked in world.aws.calls if operation == "CreateEndpointConfig"]
    assert model["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert model["EnableNetworkIsolation"] is True
    capture = config["DataCaptureConfig"]
    assert capture["KmsKeyId"] == stack.resolve({"Fn::GetAtt": ["Key", "Arn"]})
    assert capture["DestinationS3Uri"] == f"s3://{stack.store}/_captured/"
    assert capture["InitialSamplingPercentage"] == 10
    assert not stack.failures


def test_what_the_stack_writes_into_the_bucket_wakes_nobody(world: World) -> None:
    stack = world.stack()
    drop(stack, "digits/1", {"model.mar": b"no archive"})
    drop(stack, "not legal!/1", ARCHIVE)
    stack.run(lambda: not stack.timers())
    keys = [o["Key"] for o in stack.client("s3").list_objects_v2(Bucket=stack.drop)["Contents"]]
    assert {key for key in keys if is_ours(key)} >= {"digits/1/_report.json", "digits/1/_report.txt"}
    assert any(key.startswith("_reports/") for key in keys)
    assert not [key for key in event_keys(stack) if is_ours(key)]
    assert stack.deliver() == 0


def event_keys(stack: Stack) -> list[str]:
    return [event["detail"]["object"]["key"] for _, event in stack.delivered if event.get("source") == "aws.s3"]


@pytest.mark.parametrize("seed", [0])
def test_events_may_be_doubled_reordered_and_lost(world: World, seed: int) -> None:
    stack = world.stack()
    heard = stack.listen()
    stack.mishaps = Mishaps(seed=seed, drop=0.5, double=0.5, shuffle=True)
    drop(stack, "digits/1", ARCHIVE)
    drop(stack, "words/1", SAVED_MODEL)
    for ref in ("digits/1", "words/1"):
        stack.run(ended(stack, ref), sync=True)
    world.sick.add("digits/2")
    drop(stack, "digits/2", OTHER | {"deploy.yaml": PLAN})
    stack.run(App(stack, "digits").until(ended(stack, "digits/2")), sync=True)
    phases = {str(rollout.ref): rollout.phase for rollout in rollouts(stack)}
    assert phases == {"digits/1": Phase.PROMOTED, "words/1": Phase.PROMOTED, "digits/2": Phase.ROLLED_BACK}
    assert set(versions(stack)) == set(phases)
    assert weights(stack, "digits") == weights(stack, "words") == {"1": 100}
    kinds = Counter({event["detail"]["id"]: event["detail-type"] for event in heard()}.values())
    assert [kinds[kind] for kind in MILESTONES] == [3, 3, 2]
    assert kinds["rollout.rolled_back"] == 1
    assert not stack.failures
