"""One suite for all that ask a deployment: in memory, SageMaker over HTTP, and replicas on Unix sockets."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.domain.invocation import Call, NoAnswer, Reply, TimedOut
from chalicelib.local.invoking import LARGEST, SocketInvoker
from tests.fakes_pipeline import FakeInvoker
from tests.local.gateway_world import Replica
from tests.sagemaker_http import ATTRIBUTES, HangUp, endpoint_of, invoker_of, runtime

CALL = Call(b'{"instances": [1]}', "application/json", "application/json", {"trace": "id-1", "contract": "instances"})
JSON = "application/json"


@dataclass
class World:
    """An invoker, and how its one deployment v1 is told what to answer: a Reply, or None to end without one."""

    invoker: Any
    give: Callable[[Callable[[bytes], Reply | None]], None]


@pytest.fixture
def memory():
    invoker = FakeInvoker()

    def give(answer):
        invoker.answers["v1"] = lambda call: answer(call.body) or NoAnswer("it hung up")

    return World(invoker, give)


@pytest.fixture(scope="module")
def there():
    with runtime() as told:
        yield told


@pytest.fixture
def sagemaker(there):
    there.containers.clear()

    def give(answer):
        def container(_, body):
            reply = answer(body)
            if reply is None:
                raise HangUp
            said = ";".join(f"{name}={value}" for name, value in reply.attributes.items())
            return reply.status, {"Content-Type": reply.content_type, ATTRIBUTES: said}, reply.body

        there.containers[endpoint_of("v1")] = container

    return World(invoker_of(there.url), give)


@pytest.fixture
def local(tmp_path_factory):
    replicas = []

    def give(answer):
        def act(call):
            reply = answer(call.body)
            if reply is None:
                call.drop = True
                return
            call.status, call.answer = reply.status, reply.body
            said = {f"X-Modeldrop-{name.title()}": value for name, value in reply.attributes.items()}
            call.answer_headers = {"Content-Type": reply.content_type, **said}

        replicas.append(Replica(tmp_path_factory.mktemp("s") / "s", act))

    yield World(SocketInvoker(lambda id_: [r.socket_path for r in replicas] if id_ == "v1" else []), give)
    for replica in replicas:
        replica.close()


@pytest.fixture(params=["memory", "sagemaker", "local"])
def world(request):
    return request.getfixturevalue(request.param)


def test_an_answer_comes_back_with_its_type_and_what_the_deployment_says_of_itself(world):
    asked = []

    def answer(body):
        asked.append(body)
        return Reply(200, b'{"predictions": [2]}', JSON, {"digest": "sha256:ab", "nonfinite": "1"})

    world.give(answer)
    reply = world.invoker.invoke("v1", CALL, 5)
    assert asked == [CALL.body]
    assert (reply.status, reply.body, reply.content_type) == (200, b'{"predictions": [2]}', JSON)
    assert {"digest": "sha256:ab", "nonfinite": "1"}.items() <= reply.attributes.items()


@pytest.mark.parametrize("status", [400, 422, 500, 503])
def test_a_models_own_error_is_an_answer(world, status):
    world.give(lambda _: Reply(status, b'{"error": "mine"}', JSON, {}))
    reply = world.invoker.invoke("v1", CALL, 5)
    assert (reply.status, reply.body) == (status, b'{"error": "mine"}')


def test_a_deployment_that_is_not_there_gives_no_answer(world):
    with pytest.raises(NoAnswer):
        world.invoker.invoke("v1", CALL, 5)


def test_one_that_hangs_up_gives_no_answer(world):
    world.give(lambda _: None)
    with pytest.raises(NoAnswer):
        world.invoker.invoke("v1", CALL, 5)


def test_one_that_hangs_is_not_waited_for_any_longer(local):
    done = threading.Event()

    def hang(_):
        done.wait(60)

    local.give(hang)
    with pytest.raises(TimedOut):
        local.invoker.invoke("v1", CALL, 0.2)
    done.set()


def test_one_that_drips_is_late_all_the_same(tmp_path):
    import socketserver  # noqa: PLC0415 - for one test's server

    class Drips(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            while not done.wait(0.02):
                try:
                    self.wfile.write(b".")
                except OSError:
                    return

    done = threading.Event()
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "s"), Drips) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(TimedOut):
            SocketInvoker(lambda _: [tmp_path / "s"]).invoke("v1", CALL, 0.3)
        done.set()
        server.shutdown()


def test_one_machine_asks_by_the_route_of_the_contract_and_takes_no_endless_answer(local):
    local.give(lambda _: Reply(200, b"." * (LARGEST + 1), "text/plain", {}))
    with pytest.raises(NoAnswer, match="more than"):
        local.invoker.invoke("v1", CALL, 20)
