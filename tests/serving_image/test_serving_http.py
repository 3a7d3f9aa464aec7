"""HTTP as clients and attackers speak it: limits, order, draining."""

import concurrent.futures
import contextlib
import socket

import pytest

HANDLER = """
import os, time
def handle(data, context):
    return [answer(row["body"]) for row in data or []]
def answer(value):
    while isinstance(value, str) and not os.path.exists(value):
        time.sleep(0.005)
    return value
"""
LIMITS = {
    "MODELDROP_MAX_BODY_BYTES": "2000",
    "MODELDROP_MAX_HEADER_BYTES": "3000",
    "MODELDROP_READ_TIMEOUT_S": "0.5",
    "MODELDROP_REQUEST_TIMEOUT_S": "0.5",
    "MODELDROP_MAX_QUEUE": "2",
    "MODELDROP_MODEL_NAME": "other",
    "AIP_HEALTH_ROUTE": "/healthy",
    "AIP_PREDICT_ROUTE": "/vertex",
}


@pytest.fixture
def limited(run, handler_archive):
    return run(handler_archive(HANDLER), **LIMITS).until_ready()


@pytest.fixture
def unhurried(run, handler_archive):
    return run(handler_archive(HANDLER), MODELDROP_READ_TIMEOUT_S="60").until_ready()


def connect(replica):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(replica.socket))
    return client


def received(client):
    """Everything until the server closes."""
    content = b""
    while chunk := client.recv(65536):
        content += chunk
    return content


def exchange(replica, content):
    with connect(replica) as client:
        client.sendall(content)
        return received(client)


def test_limits_and_routes_of_the_environment_hold(limited):
    with limited.client() as client:
        assert client.get("/healthy").status_code == 200
        assert client.get("/health").status_code == 404
        assert client.post("/vertex", json={"instances": [{"body": 1}]}).json() == {"predictions": [1]}
        assert client.post("/predictions/other", json=2).json() == 2
        assert client.post("/v1/models/other:predict", json={"instances": [{"body": 1}]}).status_code == 200
        assert client.post("/predictions/model", json=2).status_code == 404
        wrong = client.get("/invocations")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert client.delete("/ping").status_code == 405
        missing = client.post("/vertex", json={"rows": []})
        assert (missing.status_code, missing.json()["error"]["where"]) == (400, "instances")
        broken = client.post("/vertex", content=b'{"instances": [')
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "malformed_json")
        deep = client.post("/invocations", content=b"[" * 1500, headers={"content-type": "application/json"})
        assert deep.status_code == 400
        large = client.post("/invocations", content=b"x" * 2001)
        assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")


def test_a_chunked_body_is_limited_too(limited):
    chunks = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(3))
    answer = exchange(
        limited, b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("header", [b"X: " + b"y" * 3001 + b"\r\n\r\n", b"X: " + b"y" * 9000, b"A: b\r\n" * 1000])
def test_headers_are_limited_whether_they_end_or_not(limited, header):
    assert exchange(limited, b"GET /ping HTTP/1.1\r\n" + header).startswith(b"HTTP/1.1 431 ")


def test_what_is_not_http_is_refused(limited):
    assert exchange(limited, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "start", [b"GET /ping HTTP/1.1\r\nHos", b"POST /invocations HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"]
)
def test_a_request_that_does_not_arrive_is_given_up(limited, start):
    assert exchange(limited, start).startswith(b"HTTP/1.1 408 ")


def test_a_prediction_that_takes_too_long_and_a_full_queue_are_said(limited, tmp_path):
    gate = tmp_path / "gate"

    def post(value):
        with limited.client() as client:
            return client.post("/invocations", json=value)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(post, str(gate))
        assert first.result().status_code == 504
        answers = [job.result() for job in [pool.submit(post, 1) for _ in range(4)]]
    codes = sorted(answer.json()["error"]["code"] for answer in answers)
    assert codes == ["overloaded", "overloaded", "queue_timeout", "queue_timeout"]
    assert all(answer.status_code == 503 and answer.headers["retry-after"] == "1" for answer in answers)
    gate.touch()
    limited.until(lambda: post(3).status_code == 200, "the model free again")


def test_pipelined_requests_are_answered_in_their_order(unhurried, tmp_path):
    gate = tmp_path / "gate"
    body = f'"{gate}"'.encode()
    slow = (
        b"POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    with connect(unhurried) as client:
        client.sendall(slow + b"GET /nowhere HTTP/1.1\r\n\r\n" + b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n")
        gate.touch()
        answer = received(client)
    lines = [line for line in answer.split(b"\r\n") if b"HTTP/1.1" in line]
    assert [line[line.index(b"HTTP/1.1") :].split()[1] for line in lines] == [b"200", b"404", b"200"]


def test_a_client_that_expects_100_is_told_to_continue(unhurried):
    head = b"POST /invocations HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
    with connect(unhurried) as client:
        client.sendall(head)
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert received(client).startswith(b"HTTP/1.1 200 ")


def test_a_connection_is_kept_alive_and_http_1_0_is_not(unhurried):
    with connect(unhurried) as client:
        for _ in range(2):
            client.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in exchange(unhurried, b"GET /ping HTTP/1.0\r\n\r\n")


def test_sigterm_finishes_what_is_open_then_exits_0(unhurried, tmp_path):
    gate = tmp_path / "gate"
    with concurrent.futures.ThreadPoolExecutor(1) as pool, unhurried.client() as probe:
        assert probe.get("/ping").status_code == 200
        with unhurried.client() as client:
            job = pool.submit(client.post, "/invocations", json=str(gate))
            unhurried.until(lambda: "modeldrop_running_requests 1" in probe.get("/metrics").text, "the model busy")
            unhurried.process.terminate()
            unhurried.until(lambda: unhurried.events("draining"), "draining")
            draining = probe.get("/ping")
            assert (draining.status_code, draining.json()["status"]) == (503, "draining")
            gate.touch()
            assert job.result().status_code == 200
    assert unhurried.until_exit() == 0


LOADING = """
import os, time
def handle(data, context):
    while not os.path.exists({gate!r}):
        time.sleep(0.005)
    return [1] * len(data or [])
"""


def test_not_ready_before_the_model_is_loaded(run, handler_archive, tmp_path):
    gate = tmp_path / "gate"
    replica = run(handler_archive(LOADING.format(gate=str(gate))))
    replica.until(lambda: replica.events("listening"), "listening")
    with replica.client() as client:
        ping = client.get("/ping")
        assert (ping.status_code, ping.json()) == (503, {"status": "loading"})
        early = client.post("/predict", json={"instances": [1]})
        assert (early.status_code, early.json()["error"]["code"]) == (503, "not_ready")
        gate.touch()
        replica.until_ready()
        assert client.get("/ping").status_code == 200


def test_sigterm_ends_a_replica_that_is_still_loading(run, handler_archive, tmp_path):
    replica = run(handler_archive(LOADING.format(gate=str(tmp_path / "never"))))
    replica.until(lambda: replica.events("listening"), "listening")
    replica.process.terminate()
    assert replica.until_exit() == 0


def test_a_port_is_listened_on_where_no_socket_is_named(run, handler_archive):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run(handler_archive(HANDLER), MODELDROP_UDS="", AIP_HTTP_PORT=str(port)).until_ready()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert received(client).startswith(b"HTTP/1.1 200 ")


def test_another_user_may_connect_to_the_socket(unhurried):
    assert unhurried.socket.stat().st_mode & 0o777 == 0o666


def test_a_wrong_setting_is_named(run, tmp_path):
    replica = run(tmp_path, MODELDROP_MAX_BATCH="many")
    assert replica.until_exit() == 2
    assert "MODELDROP_MAX_BATCH is 'many'" in replica.events("bad_settings")[0]["error"]


def test_500_idle_and_half_sent_connections_keep_nobody_from_an_answer(custom):
    with contextlib.ExitStack() as stack:
        for i in range(500):
            quiet = stack.enter_context(connect(custom))
            if i % 2:
                quiet.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 9\r\n\r\nab")
        with custom.client() as client:
            assert "modeldrop_open_connections 501.0" in client.get("/metrics").text
            for _ in range(20):
                assert client.post("/invocations", json="x").status_code == 200


def test_a_client_that_takes_no_answers_is_let_go_and_holds_up_nobody(run, handler_archive):
    source = "def handle(data, context):\n    return ['x' * 1_000_000 for _ in data or []]\n"
    replica = run(handler_archive(source), MODELDROP_IDLE_TIMEOUT_S="1").until_ready()
    with connect(replica) as deaf:
        deaf.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\n\r\n1" * 20)
        with replica.client() as client:
            assert len(client.post("/invocations", json=1).content) == 1_000_000
            replica.until(lambda: "modeldrop_open_connections 1.0" in client.get("/metrics").text, "the deaf let go")


def test_stages_are_counted(custom):
    with custom.client() as client:
        assert client.post("/invocations", json="x").status_code == 200
        lines = client.get("/metrics").text.splitlines()
    counts = {line.split('"')[1]: float(line.split()[1]) for line in lines if "stage_seconds_count" in line}
    assert list(counts) == ["read", "parse", "queue", "encode", "write"]
    assert all(count >= 1 for count in counts.values())
