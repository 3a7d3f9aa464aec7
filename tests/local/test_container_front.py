"""The front before a custom container, with servers that answer well and badly; no container is needed for that."""

import asyncio
import os
from contextlib import asynccontextmanager, closing, suppress

import pytest

from chalicelib.domain.formats.container_yaml import read_container
from chalicelib.local.fleet import ping as asking
from chalicelib.local.fleet.container_contract import expanded, told
from chalicelib.local.fleet.container_front import Front, Orders
from chalicelib.local.fleet.container_http import HEAD
from chalicelib.local.fleet.ping import SILENCE, Answer

DIGEST = "sha256:" + "1" * 64
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def front(folder, *answers: bytes):
    """A front before a server that gives the next of these answers to each request, and keeps what it was asked."""
    asked, left = [], list(answers)

    async def serve(reader, writer):
        with suppress(asyncio.IncompleteReadError), closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.split(b"\r\n") if x.startswith(b"content-length:")), 0)
                asked.append(head + await reader.readexactly(length))
                answer = left.pop(0)
                writer.write(answer)
                if b"content-length" not in answer and b"chunked" not in answer:
                    break

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = folder / "s"
    orders = Orders(os.getppid(), path, 0, 0, port, "/alive", "/v1/guess", DIGEST)
    tried = Front(orders)
    socket = await asyncio.start_unix_server(tried.serve, str(path), limit=HEAD)
    with closing(server), closing(tried), closing(socket):
        yield path, asked


async def ask(path, *bodies: bytes, headers: bytes = b"") -> list[bytes]:
    """Send predictions over one connection and return the answers, each whole."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    answers = []
    for body in bodies:
        writer.write(b"POST /invocations HTTP/1.1\r\nhost: replica\r\n%s" % headers)
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(x[15:]) for x in head.split(b"\r\n") if x.startswith(b"content-length:"))
        answers.append(head + await reader.readexactly(length))
    writer.close()
    return answers


def test_a_ping_asks_the_health_route_and_says_the_digest_of_the_files(tmp_path):
    async def story():
        async with front(tmp_path, OK, b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n") as (path, asked):
            assert await asking.ping(path) == Answer(ready=True, digest=DIGEST)
            assert asked[0].startswith(b"GET /alive HTTP/1.1\r\n")
            assert await asking.ping(path) == SILENCE

    asyncio.run(story())


def test_a_prediction_goes_to_the_predict_route_as_the_caller_sent_it(tmp_path):
    async def story():
        async with front(tmp_path, OK, OK) as (path, asked):
            sent = b"content-type: application/json\r\nx-caller: a\r\n"
            answers = await ask(path, b'{"a": 1}', b"two", headers=sent)
            assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [b"ok", b"ok"]
            assert asked[0] == (
                b"POST /v1/guess HTTP/1.1\r\nhost: replica\r\ncontent-type: application/json\r\nx-caller: a\r\n"
                b'content-length: 8\r\n\r\n{"a": 1}'
            )

    asyncio.run(story())


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        (b"HTTP/1.1 418 Teapot\r\nContent-Length: 1\r\nX-Own: y\r\n\r\nx", (b"HTTP/1.1 418 Teapot\r\nx-own: y", b"x")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (b"HTTP/1.1 200 OK", b"ok")),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", (b"HTTP/1.1 204 No Content", b"")),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil it ends", (b"HTTP/1.1 200 OK", b"until it ends")),
        (
            CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: r\r\n\r\n",
            (b"HTTP/1.1 200 OK", b"abc0123456789"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nX-Modeldrop-Digest: sha256:0\r\nx-modeldrop-nonfinite: 1\r\ncontent-length: 0\r\n\r\n",
            (b"HTTP/1.1 200 OK\r\nx-modeldrop-nonfinite: 1", b""),
        ),
    ],
)
def test_an_answer_passes_with_its_status_and_body_and_without_what_is_not_its_to_say(tmp_path, answer, passed):
    async def story():
        async with front(tmp_path, answer) as (path, _):
            [got] = await ask(path, b"x")
            head, body = passed
            assert got == head + b"\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0\r\n\r\n", b"it is no HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"content-length is no number"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", b"it exceeds 67108864 bytes"),
        (CHUNKED + b"Z\r\n", b"a chunk of it has no size"),
        (CHUNKED + b"fffffff\r\n", b"it exceeds 67108864 bytes"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * HEAD + b"\r\n\r\n", b"its head exceeds 65536 bytes"),
        (b"HTTP/1.1 200", b"it ended the connection before its answer was whole"),
    ],
)
def test_an_answer_that_can_not_be_passed_on_is_a_502_that_says_why(tmp_path, answer, said):
    async def story():
        async with front(tmp_path, answer) as (path, _):
            [got] = await ask(path, b"x")
            assert got.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert said in got

    asyncio.run(story())


def test_a_container_that_does_not_listen_is_not_ready_and_its_predictions_are_502s(tmp_path):
    async def story():
        orders = Orders(os.getppid(), tmp_path / "s", 0, 0, 1, "/", "/", DIGEST)
        async with await asyncio.start_unix_server(Front(orders).serve, str(tmp_path / "s")):
            assert await asking.ping(tmp_path / "s") == SILENCE
            [got] = await ask(tmp_path / "s", b"x")
            assert b"502 Bad Gateway" in got
            assert b"no connection" in got

    asyncio.run(story())


@pytest.mark.parametrize(
    ("contract", "variables"),
    [
        (
            "vertex",
            {
                "AIP_MODE": "PREDICTION",
                "AIP_HTTP_PORT": "9000",
                "AIP_HEALTH_ROUTE": "/health",
                "AIP_PREDICT_ROUTE": "/predict",
                "AIP_STORAGE_URI": "/opt/ml/model",
            },
        ),
        (
            "sagemaker",
            {
                "SAGEMAKER_BIND_TO_PORT": "9000",
                "SAGEMAKER_SAFE_PORT_RANGE": "9000-9000",
                "SM_MODEL_DIR": "/opt/ml/model",
            },
        ),
        ("oci", {"MODEL_DEPLOY_HEALTH_ENDPOINT": "/health", "MODEL_DEPLOY_PREDICT_ENDPOINT": "/predict"}),
    ],
)
def test_a_container_is_told_what_its_contract_says(contract, variables):
    text = f"image: x\ncontract: {contract}\nenvironment: {{A: theirs, B: theirs}}\n"
    said = told(
        read_container(text.encode()), 9000, {"A": "wished", "AIP_HTTP_PORT": "1"} if contract == "vertex" else {}
    )
    assert {**said.environment, "A": ""} == {**variables, "A": "", "B": "theirs"}


def test_what_a_deployment_wishes_wins_over_what_the_container_says_itself():
    container = read_container(b"image: x\ncontract: oci\nenvironment: {A: theirs}\n")
    assert told(container, 8080, {"A": "wished"}).environment["A"] == "wished"


@pytest.mark.parametrize(
    ("word", "becomes"),
    [("--port=$(P)", "--port=9"), ("$$(P)", "$(P)"), ("$(Q) $P $", "$(Q) $P $"), ("$(P)$(P)", "99")],
)
def test_a_reference_becomes_the_variables_value(word, becomes):
    assert expanded(word, {"P": "9"}) == becomes
