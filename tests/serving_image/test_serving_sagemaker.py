"""SageMaker's contract by a real process: its one header in and out, probes, calls through the invoker."""

import contextlib
import socket
import threading

import httpx
import pytest
from modelserver.contracts.sagemaker import MAX_LENGTH
from modelserver.settings import Settings

from chalicelib.domain.custom_attributes import format as attributes
from chalicelib.domain.custom_attributes import parse
from chalicelib.domain.invocation import BUDGET, Call
from tests.sagemaker_http import ATTRIBUTES, endpoint_of, invoker_of, runtime
from tests.serving_world import running

pytestmark = pytest.mark.timeout(240)


def invoke(replica, said="", **more):
    with replica.client() as client:
        return client.post("/invocations", headers={ATTRIBUTES: said} if said else {}, **more)


def said_by(response):
    return parse(response.headers[ATTRIBUTES])


@pytest.fixture
def digest(custom):
    (ready,) = custom.events("ready")
    return ready["digest"]


# --- the one header ----------------------------------------------------------------------------------------------
def test_every_answer_says_digest_nonfinite_and_trace(custom, digest):
    assert said_by(invoke(custom, "trace=id-1", json={"a": 1})) == {"digest": digest, "nonfinite": "0", "trace": "id-1"}
    assert said_by(invoke(custom, json={"a": 1})) == {"digest": digest, "nonfinite": "0"}


@pytest.mark.parametrize(
    ("body", "status", "nonfinite"),
    [
        ({"command": "nan"}, 200, "2"),
        ({"command": "raise"}, 500, "0"),
        ({"command": "status"}, 418, "0"),
    ],
)
def test_a_models_errors_and_holes_are_said_so_too(custom, digest, body, status, nonfinite):
    answer = invoke(custom, "trace=t", json=body)
    assert answer.status_code == status
    assert said_by(answer) == {"digest": digest, "nonfinite": nonfinite, "trace": "t"}


def test_a_body_that_can_t_be_read_is_answered_with_the_digest(custom, digest):
    with custom.client() as client:
        answer = client.post(
            "/invocations", content=b"{", headers={ATTRIBUTES: "trace=t", "content-type": "application/json"}
        )
    assert answer.status_code == 400
    assert said_by(answer) == {"digest": digest, "nonfinite": "0", "trace": "t"}


def test_any_trace_comes_back_as_it_was_sent_and_reaches_the_handler(custom):
    trace = "a;b=c %1 ü"
    answer = invoke(custom, attributes({"trace": trace}), json={"command": "context"})
    assert said_by(answer)["trace"] == trace
    assert answer.json()["id"] is True


def test_the_header_stays_as_short_as_sagemaker_takes(custom, digest):
    answer = invoke(custom, f"trace={'x' * MAX_LENGTH}", json={"a": 1})
    assert answer.status_code == 200
    assert len(answer.headers[ATTRIBUTES]) <= MAX_LENGTH
    assert said_by(answer)["digest"] == digest


def test_other_contracts_have_no_such_header(custom):
    with custom.client() as client:
        assert ATTRIBUTES not in client.post("/predict", json={"instances": [1]}).headers
        assert ATTRIBUTES not in client.get("/ping").headers


def test_a_model_can_t_claim_another_digest(run, handler_archive):
    source = """
def handle(data, context):
    for i, _ in enumerate(data or []):
        context.set_response_header(i, "X-Amzn-SageMaker-Custom-Attributes", "digest=sha256:forged")
    return [1 for _ in data or []]
"""
    replica = run(handler_archive(source)).until_ready()
    answer = invoke(replica, json={"a": 1})
    assert answer.headers.get_list(ATTRIBUTES) == [f"digest={replica.events('ready')[0]['digest']};nonfinite=0"]


# --- what is meant -----------------------------------------------------------------------------------------------
def test_instances_are_rows_where_the_attributes_say_so_and_one_row_where_not(custom):
    body = {"instances": [{"data": 1}, {"data": 2}]}
    rows = invoke(custom, "contract=instances", json=body).json()
    assert [row["got"] for row in rows["predictions"]] == [1, 2]
    assert invoke(custom, "", json=body).json()["got"] == body


# --- probes ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("said", ["modeldrop-probe", "modeldrop-probe=1", "a=b; modeldrop-probe ;c"])
def test_a_probe_is_answered_with_the_digest_and_the_model_isn_t_run(custom, digest, said):
    before = invoke(custom, json={"command": "calls"}).json()
    answer = invoke(custom, said, content=b"")
    assert answer.status_code == 200
    assert said_by(answer)["digest"] == digest
    assert answer.json()["digest"] == digest
    assert len(invoke(custom, json={"command": "calls"}).json()) == len(before) + 1


def test_a_probe_is_answered_while_the_model_is_busy(custom, digest, tmp_path):

    go = tmp_path / "go"
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(invoke(custom, json={"command": "wait", "for": str(go)})))
    waiting.start()
    assert said_by(invoke(custom, "modeldrop-probe"))["digest"] == digest
    assert answers == []
    go.touch()
    waiting.join(60)
    assert answers[0].text == "waited"


def test_a_probe_of_a_model_that_isn_t_loaded_is_503_without_a_digest(run, handler_archive, tmp_path):
    source = f"""
import os, time
while not os.path.exists({str(tmp_path / "go")!r}):
    time.sleep(0.01)
def handle(data, context):
    return [1 for _ in data or []]
"""
    replica = run(handler_archive(source))
    replica.until(lambda: replica.events("listening"), "listening")
    answer = invoke(replica, "modeldrop-probe")
    assert answer.status_code == 503
    assert said_by(answer) == {"nonfinite": "0"}
    assert invoke(replica, "trace=t", json=1).status_code == 503
    (tmp_path / "go").touch()
    replica.until_ready()
    assert said_by(invoke(replica, "modeldrop-probe"))["digest"].startswith("sha256:")


# --- how SageMaker starts a container ----------------------------------------------------------------------------
def test_sagemakers_own_places_are_what_holds_unless_said_otherwise():
    settings = Settings.from_env({})
    assert (str(settings.model_dir), settings.host, settings.port) == ("/opt/ml/model", "0.0.0.0", 8080)


def test_it_serves_on_a_port_when_started_with_serve_as_sagemaker_does(custom_folder, tmp_path):
    with _free_port() as port:
        pass
    with running(custom_folder, tmp_path / "r", "serve", MODELDROP_UDS="", AIP_HTTP_PORT=str(port)) as replica:
        replica.until_ready()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.get("/ping").status_code == 200
            assert said_by(client.post("/invocations", json={"a": 1}))["nonfinite"] == "0"


@contextlib.contextmanager
def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        yield found.getsockname()[1]


# --- the whole way -----------------------------------------------------------------------------------------------
@pytest.fixture
def deployed(custom):
    """The replica behind a runtime that strips and turns what SageMaker strips and turns."""
    with runtime() as there, custom.client() as client:

        def container(headers, body):
            answer = client.post("/invocations", headers=headers, content=body)
            return answer.status_code, dict(answer.headers), answer.content

        there.containers[endpoint_of("v1")] = container
        yield invoker_of(there.url)


def call(body, content_type="application/json", **said):
    return Call(body, content_type, "", {"trace": "id-1", **said})


def test_a_prediction_through_sagemaker_proves_its_bytes(deployed, digest):
    reply = deployed.invoke("v1", call(b'{"instances": [{"data": 1}]}', contract="instances"), BUDGET)
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert b'"got":1' in reply.body
    assert reply.attributes == {"digest": digest, "nonfinite": "0", "trace": "id-1"}


def test_bytes_pass_through_sagemaker_both_ways(deployed):
    reply = deployed.invoke("v1", call(b"\x00\xff", "application/x-own"), BUDGET)
    assert b'"bytes":2' in reply.body
    raw = deployed.invoke("v1", call(b'{"command": "bytes"}'), BUDGET)
    assert (raw.body, raw.content_type) == (b"\x00raw", "application/octet-stream")


def test_a_models_own_error_through_sagemaker_keeps_status_and_words(deployed):
    reply = deployed.invoke("v1", call(b'{"command": "raise"}'), BUDGET)
    assert (reply.status, reply.content_type) == (500, "application/json")
    assert b"this row is bad" in reply.body
