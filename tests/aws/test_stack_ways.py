"""Strategies, gates and placements of a deployed stack: the same decisions, on SageMaker's fake."""

from collections.abc import Callable

import pytest

from chalicelib.domain.rollout import WITH_TRAFFIC, Phase, Rollout
from tests.aws.aws_world import World, api_key, endpoint, rollouts
from tests.aws.rest_gateway import RestGateway
from tests.aws.stack import Stack
from tests.fakes_artifacts import HANDLER, small_mar

OTHER = small_mar(HANDLER + "\n# retrained\n")
FEW = b"thresholds: {min_requests: 10}\nbake: 60s\n"
GATED = FEW + b"strategy: blue_green\ngates: [100]\n"
RECREATE = FEW + b"placement: recreate\n"
ALLOWING = {"Bounds": '{"placements": ["surge", "recreate", "co_resident"]}'}


def rollout(stack: Stack, version: str) -> Rollout:
    return next(r for r in rollouts(stack) if r.ref.version_id == version)


def ask(stack: Stack, method: str, path: str, body: object = None) -> dict:
    return RestGateway(stack).call(method, path, body, key=api_key(stack, "deploy", "predict:digits")).json


def served_first(world: World, parameters: dict[str, str] | None = None) -> Stack:
    stack = world.stack(parameters)
    stack.put("digits/1/model.mar", small_mar())
    stack.run(lambda: any(r.phase == Phase.PROMOTED for r in rollouts(stack)))
    return stack


def drop(stack: Stack, version: str, plan: bytes) -> None:
    stack.put(f"digits/{version}/model.mar", OTHER)
    stack.put(f"digits/{version}/deploy.yaml", plan)


def under_load(stack: Stack, reached: Callable[[], bool]) -> Callable[[], bool]:
    """Return a condition that calls the endpoint whenever it isn't met and a canary has traffic."""

    def called() -> bool:
        met = reached()
        for _ in range(15 if not met and any(r.phase in WITH_TRAFFIC for r in rollouts(stack)) else 0):
            ask(stack, "POST", "/v1/endpoints/digits:predict", {"instances": [1]})
        return met

    return called


def test_blue_green_waits_at_its_gate_for_an_approval_through_the_api_and_is_promoted_when_it_has_baked(world):
    stack = served_first(world)
    drop(stack, "2", GATED)
    stack.run(lambda: any(r.gate == 100 for r in rollouts(stack)))
    assert endpoint(stack, "digits").promoted == rollout(stack, "2").stable
    assert ask(stack, "POST", "/v1/endpoints/digits/approve")["gate"] == 0
    stack.run(lambda: rollout(stack, "2").phase == Phase.BAKING)
    assert endpoint(stack, "digits").split.weights == {
        rollout(stack, "2").stable: 0,
        rollout(stack, "2").canary.id: 100,
    }
    stack.run(under_load(stack, lambda: not rollout(stack, "2").is_open))
    assert rollout(stack, "2").phase == Phase.PROMOTED
    assert not stack.failures


def test_one_at_a_time_stable_makes_room_and_a_sick_canary_makes_room_again(world):
    stack = served_first(world, ALLOWING)
    world.sick.add("digits/2")
    drop(stack, "2", RECREATE)
    most = []

    def back() -> bool:
        most.append(len([e for e in world.aws.hosting.endpoints() if e.status in {"Creating", "InService"}]))
        return any(r.ref.version_id == "2" and not r.is_open for r in rollouts(stack))

    stack.run(under_load(stack, back))
    assert rollout(stack, "2").phase == Phase.ROLLED_BACK
    assert set(most) == {0, 1}
    assert endpoint(stack, "digits").split.weights == {rollout(stack, "2").stable: 100}
    told = ask(stack, "GET", f"/v1/rollouts/{rollout(stack, '2').id}")["timeline"]
    assert "nothing answers" in told[0]["message"]
    assert "going back isn't at once either" in told[0]["message"]
    moves = [t["kind"].removeprefix("rollout.") for t in told if t["kind"] != "rollout.extended"]
    assert moves == ["opened", "recreating", "baking", "returning", "rolled_back"]
    assert not stack.failures


def test_two_on_one_gpu_are_refused_with_the_reason(world):
    stack = world.stack(ALLOWING)
    drop(stack, "1", b"placement: co_resident")
    stack.run(lambda: any(d["verdict"] == "reject" for d in ask(stack, "GET", "/v1/drops")["drops"]))
    [found] = ask(stack, "GET", "/v1/drops")["drops"]
    assert "SageMaker gives each deployment instances of its own" in found["findings"][0]["message"]


pytestmark = pytest.mark.slow
