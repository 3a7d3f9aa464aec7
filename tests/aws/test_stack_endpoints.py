"""Who answers, decided by people, through all that the template makes: a split of their own, aliases, dark versions."""

import time
from collections.abc import Callable

from tests.aws.aws_world import World, api_key, endpoint, rollouts
from tests.aws.rest_gateway import Reply, RestGateway
from tests.aws.stack import Stack
from tests.fakes_artifacts import HANDLER, small_mar

REMEMBERED = 30  # seconds; a warm function remembers the split for two


def drop(stack: Stack, ref: str) -> None:
    stack.put(f"{ref}/model.mar", small_mar(f"{HANDLER}\n# {ref}\n"))


def ended(stack: Stack, ref: str) -> Callable[[], bool]:
    return lambda: any(str(r.ref) == ref and not r.is_open for r in rollouts(stack))


def shares(stack: Stack) -> dict[str, int]:
    found = endpoint(stack, "digits")
    assert found
    return {str(found.deployments[at].ref): weight for at, weight in found.split.weights.items()}


class People:
    """An operator, an app and a tester, each with a key of their own."""

    def __init__(self, stack: Stack) -> None:
        self.api = RestGateway(stack)
        self.keys = {scope: api_key(stack, scope) for scope in ("admin", "predict:digits", "dark:digits")}

    def asks(self, method: str, path: str, body: object = None) -> Reply:
        return self.api.call(method, f"/v1/endpoints/{path}", body, key=self.keys["admin"])

    def calls(self, scope: str, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"instances": [1]}
        return self.api.call("POST", "/v1/endpoints/digits:predict", body, key=self.keys[scope], headers=named)

    def version(self, scope: str, **headers: str) -> str:
        reply = self.calls(scope, **headers)
        assert reply.status == 200, reply
        return reply.headers["x-modeldrop-version"]


def soon(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + REMEMBERED
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.7)  # the endpoint takes 50 requests a second


def test_people_decide_who_answers(world: World) -> None:
    stack = world.stack()
    heard = stack.listen()
    drop(stack, "digits/1")
    stack.run(ended(stack, "digits/1"))
    people = People(stack)
    drop(stack, "digits/2")
    stack.run(lambda: shares(stack).get("digits/2", 0) > 0)

    # A canary is called by name with the scope for it, and an alias keeps it running after its rollout.
    assert people.version("dark:digits", x_modeldrop_version="2") == "2"
    assert people.calls("predict:digits", x_modeldrop_version="2").status == 403
    blue = {"model_id": "digits", "version_id": "2"}
    assert people.asks("PUT", "digits/aliases/blue", blue).status == 200
    assert people.asks("POST", "digits/abort").status == 202
    stack.run(ended(stack, "digits/2"))
    soon(lambda: people.calls("predict:digits", x_modeldrop_alias="blue").headers.get("x-modeldrop-version") == "2")
    assert people.version("predict:digits", x_modeldrop_alias="champion") == "1"

    # A split comes in force once both are ready; what is dropped meanwhile waits for its end.
    wanted = {"digits/1": 60, "digits/2": 40}
    assert people.asks("PUT", "digits/split", {"weights": wanted}).status == 202
    stack.run(lambda: shares(stack) == wanted)
    soon(lambda: {people.version("predict:digits") for _ in range(30)} == {"1", "2"})
    drop(stack, "digits/3")
    stack.run(lambda: "rollout.held_back" in [event["detail-type"] for event in heard()])
    assert people.asks("POST", "digits/rollouts", {"model_id": "digits", "version_id": "3"}).status == 409

    assert people.asks("DELETE", "digits/split?to=digits/2").status == 202
    stack.run(lambda: any(str(r.ref) == "digits/3" for r in rollouts(stack)))
    assert shares(stack)["digits/2"] >= 95
    assert people.asks("DELETE", "digits/aliases/blue").status == 200
    assert not stack.failures
