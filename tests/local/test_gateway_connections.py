"""The gateway as an HTTP/1.1 server: order, limits, slow and leaving clients, curl, and the drain at the end."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from chalicelib.local.gateway.gateway import Gateway
from chalicelib.local.gateway.server import Limits
from tests.local.gateway_world import World, code_of, predict, says, until

LIMITS = Limits(body=300_000, head=8_000)
LAST = re.compile(rb"connection: close\r\n\r\n.*}$", re.DOTALL)  # an answer that ends with its JSON object
HASTY = Limits(head_time=0.4, body_time=0.4, idle_time=0.8, linger=0.5)
PREDICT = b"POST /v1/endpoints/digits/predict HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture
def world():
    world = made(LIMITS)
    yield world
    world.close()


@pytest.fixture
def hasty():
    """A gateway that waits for nobody."""
    world = made(HASTY)
    yield world
    world.close()


def made(limits):
    world = World(limits=limits)
    world.replica = world.add_replica("v1")
    world.set_split({"v1": 100})
    world.secret = world.key("predict:digits")
    world.auth = f"authorization: Bearer {world.secret}\r\n".encode()
    return world


def connect(world):
    trust = ssl.create_default_context(cafile=str(world.ca))
    plain = socket.create_connection(("127.0.0.1", world.gateway.port), timeout=20)
    return trust.wrap_socket(plain, server_hostname="localhost")


def read_to_end(connection):
    """Return all that comes until the gateway closes or has said, in whole, that it will."""
    received = b""
    while not LAST.search(received) and (part := connection.recv(65536)):
        received += part
    return received


def statuses(received):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


def say(world, *parts):
    """Send raw bytes, return all that came back until the gateway closed."""
    with connect(world) as connection:
        for part in parts:
            connection.sendall(part)
        return read_to_end(connection)


def request(world, body=b'{"instances": [1]}', *extra):
    head = [PREDICT, world.auth, b"content-type: application/json\r\n", *(line + b"\r\n" for line in extra)]
    return b"".join(head) + b"content-length: %d\r\n\r\n" % len(body) + body


# --- order ---------------------------------------------------------------------------------------------------------
def test_pipelined_requests_are_answered_in_their_order(world):
    def echo(call):
        says("v1")(call)
        call.answer = call.body

    world.replica.act = echo
    many = [request(world, b'{"instances": [%d]}' % n) for n in range(30)]
    last = request(world, b'{"instances": [30]}', b"connection: close")
    received = say(world, b"".join(many) + last)
    assert statuses(received) == [200] * 31
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert [json.loads(body)["instances"] for body in bodies] == [[n] for n in range(31)]


def test_a_refusal_waits_its_turn_behind_earlier_answers(world):
    received = say(world, request(world) + b"nonsense\r\n\r\n")
    assert statuses(received) == [200, 400]


def test_a_request_may_arrive_byte_by_byte(world):
    whole = request(world, b'{"instances": [1]}', b"connection: close")
    received = say(world, *(bytes([byte]) for byte in whole))
    assert statuses(received) == [200]


def test_chunked_bodies_are_put_together(world):
    head = PREDICT + world.auth + b"content-type: application/json\r\nconnection: close\r\n"
    chunks = b'9\r\n{"instanc\r\n9\r\nes": [1]}\r\n0\r\nx-trailer: 1\r\n\r\n'
    assert statuses(say(world, head + b"transfer-encoding: chunked\r\n\r\n" + chunks)) == [200]
    assert world.replica.calls[0].body == b'{"instances": [1]}'
    assert "x-trailer" not in world.replica.calls[0].headers


def test_http_1_0_is_answered_and_closed(world):
    whole = request(world).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert statuses(say(world, whole)) == [200]


def test_head_gets_headers_and_no_body(world):
    client = world.client("admin")
    response = client.head("/metrics")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0
    assert client.head("/nowhere").status_code == 404


def test_a_connection_is_kept_for_many_requests(world):
    one = request(world)
    with connect(world) as connection:
        for _ in range(3):
            connection.sendall(one)
            assert statuses(connection.recv(65536)) == [200]


# --- 100-continue --------------------------------------------------------------------------------------------------
def test_who_expects_continue_is_told_to_before_the_body_is_sent(world):
    body = b'{"instances": [1]}'
    whole = request(world, body, b"expect: 100-continue", b"connection: close")
    head, body = whole[: -len(body)], whole[-len(body) :]
    with connect(world) as connection:
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert statuses(read_to_end(connection)) == [200]


def test_continue_is_not_said_before_an_earlier_answer(world):
    release = threading.Event()
    world.replica.act = lambda call: release.wait(20) and None
    first, second = request(world), request(world, b'{"instances": [2]}', b"expect: 100-continue", b"connection: close")
    with connect(world) as connection:
        connection.sendall(first + second)
        until(lambda: len(world.replica.calls) == 1)
        release.set()
        assert statuses(read_to_end(connection)) == [200, 200]  # the body was there already: nothing to wait for


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(world):
    head = PREDICT + world.auth + b"content-length: 300001\r\nexpect: 100-continue\r\n\r\n"
    received = say(world, head)
    assert statuses(received) == [413]
    assert b"connection: close" in received


def test_a_caller_without_a_key_uploads_nothing(world):
    received = say(world, PREDICT + b"content-length: 200000\r\nexpect: 100-continue\r\n\r\n")
    assert statuses(received) == [401]


# --- limits --------------------------------------------------------------------------------------------------------
def test_a_client_that_sends_too_much_still_reads_why(world):
    response = world.client("predict:digits").post("/v1/endpoints/digits/predict", content=b"x" * 3_000_000)
    assert (response.status_code, code_of(response)) == (413, "body_too_large")


def test_a_chunked_body_is_stopped_at_the_limit(world):
    def parts():
        for _ in range(40):
            yield b"x" * 10_000

    response = world.client("predict:digits").post("/v1/endpoints/digits/predict", content=parts())
    assert (response.status_code, code_of(response)) == (413, "body_too_large")


@pytest.mark.parametrize(
    "parts",
    [
        [b"x-many: 1\r\n" * 1000 + b"\r\n"],
        [b"x-one: " + b"y" * 20_000 + b"\r\n\r\n"],
        [b"x-endless: " + b"y" * 20_000],
        [b"x-endless: ", *[b"y" * 500] * 40],
    ],
)
def test_a_head_that_is_too_large_is_431(world, parts):
    assert statuses(say(world, PREDICT + parts[0], *parts[1:])) == [431]


def test_a_head_that_is_just_small_enough_may_come_in_pieces(world):
    whole = request(world, b'{"instances": [1]}', b"x-long: " + b"y" * 7_000, b"connection: close")
    assert statuses(say(world, *(whole[n : n + 500] for n in range(0, len(whole), 500)))) == [200]


def test_a_long_body_in_few_pieces_is_no_long_head(world):
    body = json.dumps({"instances": ["y" * 200_000]}).encode()
    received = say(world, request(world) + request(world, body, b"connection: close"))
    assert statuses(received) == [200, 200]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        PREDICT + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        PREDICT + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        PREDICT + b"content-length: -1\r\n\r\n",
        PREDICT + b"bad header\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_not_plain_http_is_400_and_closed(world, nonsense):
    assert statuses(say(world, nonsense))[-1] in (400, 401)
    assert world.replica.calls == []


@pytest.mark.parametrize("sent", [PREDICT, PREDICT + b"content-type: text/plain\r\n"])
def test_a_head_that_does_not_come_is_408(hasty, sent):
    assert statuses(say(hasty, sent)) == [408]


def test_a_body_that_does_not_come_is_408(hasty):
    assert statuses(say(hasty, PREDICT + hasty.auth + b"content-length: 100\r\n\r\n{")) == [408]
    assert hasty.traffic("v1").requests == 0


def test_a_head_that_does_not_come_behind_another_request_is_408_as_well(hasty):
    assert statuses(say(hasty, request(hasty) + PREDICT)) == [200, 408]


def test_a_client_that_was_refused_and_stays_is_closed(hasty):
    with connect(hasty) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert statuses(read_to_end(connection)) == [400]
        assert connection.recv(10) == b""


def test_an_idle_connection_is_closed_without_a_word(hasty):
    with connect(hasty) as connection:
        assert connection.recv(10) == b""


def test_slow_and_idle_clients_do_not_hurt_others(world):
    slow = [connect(world) for _ in range(50)]
    for connection in slow[:25]:
        connection.sendall(PREDICT)
    client = world.client("predict:digits")
    assert [predict(client).status_code for _ in range(20)] == [200] * 20
    for connection in slow:
        connection.close()


# --- leaving and draining ------------------------------------------------------------------------------------------
def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(world):
    release = threading.Event()
    world.replica.act = lambda call: release.wait(20) and None
    connection = connect(world)
    connection.sendall(request(world))
    until(lambda: len(world.replica.calls) == 1)
    connection.close()
    release.set()
    assert predict(world.client("predict:digits")).status_code == 200
    assert world.traffic("v1").errors == 0


def test_stop_finishes_what_is_being_answered_and_takes_no_more(world):
    release = threading.Event()
    world.replica.act = lambda call: release.wait(20) and None
    client = world.client("predict:digits")
    idle = connect(world)
    assert world.gateway.ready
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(predict, client)
        until(lambda: len(world.replica.calls) == 1)
        stopped = pool.submit(world.gateway.stop, 20)
        assert idle.recv(10) == b""
        until(lambda: not listens(world))
        release.set()
        assert answer.result().status_code == 200
        stopped.result()
    assert not world.gateway.ready
    idle.close()


def test_a_port_that_is_taken_is_said_at_start(world):
    other = Gateway(world.wiring, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with pytest.raises(OSError, match="in use"):
        other.start("127.0.0.1", world.gateway.port)
    assert not other.ready


def test_stop_does_not_wait_for_ever(world):
    release = threading.Event()
    world.replica.act = lambda call: release.wait(20) and None
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(predict, world.client("predict:digits"))
        until(lambda: len(world.replica.calls) == 1)
        world.gateway.stop(0.1)
        assert isinstance(answer.exception(), httpx.HTTPError)
    release.set()


def listens(world):
    try:
        socket.create_connection(("127.0.0.1", world.gateway.port), timeout=1).close()
    except OSError:
        return False
    return True


# --- the store's webhook -------------------------------------------------------------------------------------------
def test_the_stores_events_arrive_on_loopback_without_tls():
    got = []

    def take(headers, body):
        got.append((headers["authorization"], body))
        return 204 if body == b"{}" else 403

    world = World(on_store_event=take)
    url = f"http://127.0.0.1:{world.gateway.events_port}/internal/store-events"
    with httpx.Client(trust_env=False) as client:
        answered = [
            client.post(url, content=body, headers={"Authorization": "Bearer t"}).status_code for body in (b"{}", b"x")
        ]
        assert answered == [204, 403]
        assert client.get(url).status_code == 405
        assert client.head(url).status_code == 200
        assert client.post(url.replace("store-events", "other")).status_code == 404
    world.close()
    assert got == [("Bearer t", b"{}"), ("Bearer t", b"x")]


def test_the_stores_events_are_not_taken_from_the_public_side(world):
    assert world.client("admin").post("/internal/store-events", content=b"{}").status_code == 404


# --- curl ----------------------------------------------------------------------------------------------------------
def curl(world, *arguments, body=b'{"instances": [1]}'):
    url = f"https://localhost:{world.gateway.port}/v1/endpoints/digits/predict"
    base = ["curl", "-sS", "--noproxy", "*", "--cacert", str(world.ca), "--data-binary", "@-", url]
    done = subprocess.run([*base, *arguments], input=body, capture_output=True, timeout=60, check=False)
    return done.stdout, done.stderr


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("size", [10, 250_000])
def test_curl_predicts_with_the_ca_alone(world, size):
    body = json.dumps({"instances": ["x" * size]}).encode()
    extra = ["-H", f"Authorization: Bearer {world.secret}", "-H", "Content-Type: application/json"]
    out, err = curl(world, *extra, "-H", "Expect: 100-continue", body=body)
    assert err == b""
    assert json.loads(out)["predictions"] == [1]
    assert world.replica.calls[0].body == body


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_is_told_when_the_body_is_too_large(world):
    extra = ["-H", f"Authorization: Bearer {world.secret}", "-w", "%{http_code}"]
    out, _ = curl(world, *extra, body=b"x" * 2_000_000)
    assert out.endswith(b"413")
