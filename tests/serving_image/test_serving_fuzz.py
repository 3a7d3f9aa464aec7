"""Whatever a client sends, the answer is its mistake or a prediction: never our error, never silence."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow
ANSWER_WITHIN_S = 10
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["b64", "ids", "text", "data"]), inner),
    max_leaves=12,
)
BOUNDED = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
FEWER = settings(BOUNDED, max_examples=40)
INFER = "/v2/models/model/infer"
PATHS = st.sampled_from(["/predict", "/invocations", "/v1/models/model:predict", "/predictions/model", INFER])
REFUSALS = (400, 404, 405, 406, 415)
PIXELS = {"name": "pixels", "datatype": "FP32", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}
TEXT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
IDS = {"name": "ids", "datatype": "INT32", "shape": [1, 1], "data": [1]}
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["text", "ids", "x", "pixels", ""]) | JSON,
        "datatype": st.sampled_from(["FP32", "INT32", "INT64", "BYTES", "BOOL", "BF16"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data": st.lists(st.integers(0, 9) | st.floats() | st.just("a"), max_size=6) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40) | JSON}) | JSON,
    },
)
TENSOR = CHANGES | st.builds(lambda right, wrong: right | wrong, st.sampled_from([PIXELS, TEXT, IDS]), CHANGES)
INFERENCE = st.fixed_dictionaries(
    {"inputs": st.sampled_from([[PIXELS], [TEXT, IDS]]) | st.lists(TENSOR, max_size=3) | JSON},
    optional={
        "id": JSON,
        "parameters": st.fixed_dictionaries({}, optional={"signature_name": JSON, "binary_data_output": JSON}) | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": JSON}), max_size=2) | JSON,
    },
)
SAID = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            [
                "application/json",
                "application/x-npy",
                "application/octet-stream",
                "image/png",
                "a/b",
                ";",
                "text/plain",
            ]
        ),
        "accept": st.sampled_from(["application/x-npy", "application/json;q=x", "*/*", ",;,", "a/b", "a/b, */*"]),
        "content-encoding": st.sampled_from(["identity", "gzip"]),
        "x-modeldrop-signature": st.sampled_from(["serving_default", "text", ""]),
        "inference-header-content-length": st.integers(-1, 80).map(str) | st.sampled_from(["x", "1e1", "9" * 30]),
        "x-amzn-sagemaker-custom-attributes": st.sampled_from(
            ["contract=instances", "signature_name=x;trace=%zz", "=;;="]
        ),
    },
)
SEGMENTS = st.sampled_from(
    ["v1", "v2", "models", "model", "model:predict", "versions", "1", "9", "infer", "ready", "", "%2f", "x:y"]
)


@pytest.fixture(params=["two_replica", "keras_replica", "script"])
def connection(request):
    with request.getfixturevalue(request.param).client() as client:
        client.timeout = ANSWER_WITHIN_S
        yield client


@BOUNDED
@given(path=PATHS, document=JSON, key=st.sampled_from(["instances", "inputs", "other"]))
def test_any_json_is_predicted_or_refused(connection, path, document, key):
    answer = connection.post(path, content=json.dumps({key: document}), headers={"content-type": "application/json"})
    acceptable(answer)


@BOUNDED
@given(path=PATHS, body=st.binary(max_size=200))
def test_any_bytes_are_predicted_or_refused(connection, path, body):
    acceptable(connection.post(path, content=body, headers={"content-type": "application/json"}))


@FEWER
@given(document=INFERENCE, tail=st.binary(max_size=40), has_length=st.booleans())
def test_any_inference_request_is_answered_or_refused(connection, document, tail, has_length):
    head = json.dumps(document).encode()
    headers = {"inference-header-content-length": str(len(head))} if has_length else {}
    acceptable(connection.post(INFER, content=head + tail if has_length else head, headers=headers))


@FEWER
@given(path=PATHS, headers=SAID, body=st.binary(max_size=80) | INFERENCE.map(lambda said: json.dumps(said).encode()))
def test_any_body_under_any_type_is_answered_or_refused(connection, path, headers, body):
    acceptable(connection.post(path, headers=headers, content=body))


@FEWER
@given(tail=st.binary(max_size=60), said=st.text("{}'():,<|>bdescrfortan_hpTFlu018 ", max_size=60))
def test_any_array_is_predicted_or_refused(connection, tail, said):
    body = b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said.encode() + tail
    headers = {"content-type": "application/x-npy", "accept": "application/x-npy"}
    acceptable(connection.post("/invocations", content=body, headers=headers))


@FEWER
@given(method=st.sampled_from(["GET", "HEAD", "POST", "PUT"]), segments=st.lists(SEGMENTS, max_size=5))
def test_any_path_is_answered_or_refused(connection, method, segments):
    answer = connection.request(method, "http://replica/" + "/".join(segments))
    assert answer.status_code in (200, *REFUSALS)
    assert method == "HEAD" or answer.status_code == 200 or answer.json()["error"]


@BOUNDED
@given(values=st.dictionaries(st.text(string.ascii_letters, min_size=1), st.text(string.printable.strip()), max_size=5))
def test_any_headers_leave_the_server_answering(connection, values):
    ours = {"host", "connection", "expect", "content-length", "transfer-encoding", "te", "upgrade"}
    answer = connection.get("/ping", headers={k: v for k, v in values.items() if k.lower() not in ours})
    assert answer.status_code == 200


def acceptable(answer):
    """A model may choke on values that its schema allows; that is said to be the model's own error."""
    if answer.status_code == 200:
        return
    said = answer.json()
    error = said["error"] if isinstance(said["error"], dict) else said
    assert answer.status_code in REFUSALS or error["code"] == "model_error", answer.text
    assert error["message"]
