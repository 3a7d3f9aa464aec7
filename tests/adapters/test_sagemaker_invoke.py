"""InvokeEndpoint over real HTTP: what passes, what its errors say about a deployment, and how long it may take."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.adapters.sagemaker_invoke import CONNECT_TIMEOUT, PATIENCE, SageMakerInvoker, patience_within
from chalicelib.domain.invocation import BUDGET, Busy, Call, NoAnswer, TimedOut
from chalicelib.pipeline.predict import TOTAL
from tests.sagemaker_http import ATTRIBUTES, HangUp, ServiceError, client_of, endpoint_of, invoker_of, runtime

CALL = Call(b'{"instances": [1]}', "application/json", "", {"trace": "id-1", "contract": "instances"})


@pytest.fixture(scope="module")
def there():
    with runtime() as told:
        yield told


@pytest.fixture
def invoker(there):
    there.containers.clear()
    there.seen.clear()
    return invoker_of(there.url)


def give(there, container, id_="v1"):
    there.containers[endpoint_of(id_)] = container


def answers(status=200, body=b"{}", **headers):
    return lambda *_: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def raises(error):
    def container(*_):
        raise error

    return container


# --- what passes -------------------------------------------------------------------------------------------------
def test_body_types_and_attributes_pass_both_ways(there, invoker):
    got = []

    def container(headers, body):
        got.append((headers, body))
        said = {"Content-Type": "image/png", ATTRIBUTES: "digest=sha256:ab;nonfinite=2;trace=id-1", "X-Own": "lost"}
        return 200, said, body[::-1]

    give(there, container)
    body = bytes(range(256))
    reply = invoker.invoke("v1", Call(body, "application/x-own", "image/png", {"trace": "id-1"}), BUDGET)
    headers = {"content-type": "application/x-own", "accept": "image/png", ATTRIBUTES: "trace=id-1"}
    assert got == [(headers, body)]
    assert (reply.status, reply.body, reply.content_type) == (200, body[::-1], "image/png")
    assert reply.attributes == {"digest": "sha256:ab", "nonfinite": "2", "trace": "id-1"}


def test_a_container_that_says_nothing_is_read_as_bytes_without_attributes(there, invoker):
    give(there, answers(body=b"\x00"))
    reply = invoker.invoke("v1", CALL, BUDGET)
    assert (reply.content_type, reply.attributes) == ("application/octet-stream", {})


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (400, b'{"error": {"code": "bad"}}', "application/json"),
        (418, b"teapot", "text/plain; charset=utf-8"),
        (500, b"", "text/plain; charset=utf-8"),
        (503, b'["full"]', "application/json"),
    ],
)
def test_a_models_own_error_keeps_its_status_and_body(there, invoker, status, body, content_type):
    give(there, answers(status, body))
    reply = invoker.invoke("v1", CALL, BUDGET)
    assert (reply.status, reply.body, reply.content_type) == (status, body, content_type)


# --- no answer ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error",
    [
        ServiceError(424, "ModelError", "no response from the container", {"OriginalStatusCode": 0}),
        ServiceError(424, "ModelError", "no response from the container"),
        ServiceError(503, "ServiceUnavailable", "try later"),
        ServiceError(500, "InternalFailure", "ours"),
        ServiceError(530, "InternalDependencyException", "theirs"),
        ServiceError(429, "ModelNotReadyException", "loading"),
        HangUp(),
    ],
)
def test_what_gives_no_answer_is_said_so_and_asked_once(there, invoker, error):
    give(there, raises(error))
    with pytest.raises(NoAnswer, match=r"^deployment v1 gave no answer: .+; try again$") as problem:
        invoker.invoke("v1", CALL, BUDGET)
    assert not isinstance(problem.value, TimedOut)
    assert len(there.seen) == 1


def test_an_endpoint_that_is_not_there_gives_no_answer(invoker):
    with pytest.raises(NoAnswer, match="SageMaker says ValidationError"):
        invoker.invoke("v9", CALL, BUDGET)


@pytest.mark.parametrize("code", ["ThrottlingException", "ThrottledException", "TooManyRequestsException"])
def test_a_throttled_call_is_nobodys_failure_and_asked_once(there, invoker, code):
    give(there, raises(ServiceError(429, code, "Rate exceeded")))
    with pytest.raises(Busy, match="quota"):
        invoker.invoke("v1", CALL, BUDGET)
    assert len(there.seen) == 1


def test_a_service_that_can_t_be_reached_is_nobodys_failure():
    with runtime() as gone:
        url = gone.url
    with pytest.raises(Busy, match="can't be reached"):
        invoker_of(url).invoke("v1", CALL, BUDGET)


def test_a_call_that_we_may_not_make_is_no_deployments_failure(there, invoker):
    give(there, raises(ServiceError(403, "AccessDeniedException", "not authorized")))
    with pytest.raises(Exception, match="AccessDenied") as problem:
        invoker.invoke("v1", CALL, BUDGET)
    assert not isinstance(problem.value, NoAnswer | Busy)


def test_who_answers_too_late_is_not_waited_for(there, invoker):
    answered = threading.Event()

    def container(*_):
        answered.wait(30)
        return 200, {}, b""

    give(there, container)
    with pytest.raises(TimedOut, match="v1 did not answer within 1 s"):
        invoker.invoke("v1", CALL, 1.9)
    answered.set()
    assert len(there.seen) == 1


# --- patience ----------------------------------------------------------------------------------------------------
@given(st.floats(1, BUDGET))
def test_patience_is_never_more_than_what_is_left_and_rarely_much_less(seconds):
    assert seconds / 2.5 < patience_within(seconds) <= seconds


def test_all_tries_together_end_before_api_gateway_does():
    assert max(PATIENCE) == BUDGET < TOTAL
    assert max(TOTAL, BUDGET + CONNECT_TIMEOUT) + min(PATIENCE) <= 28


def test_one_client_serves_all_calls_of_its_patience(there):
    made = []

    def client(config):
        made.append(config)
        return client_of(there.url, config)

    give(there, answers())
    invoker = SageMakerInvoker(client, endpoint_of)
    for seconds in (BUDGET, BUDGET, 24.7, 24.1):
        invoker.invoke("v1", CALL, seconds)
    assert [config.read_timeout for config in made] == [25, 24]
    assert {config.retries["total_max_attempts"] for config in made} == {1}
