"""Every contract, asked as its own clients ask: the same tests for the process and for the containers.

MODELDROP_TEST_IMAGES names the images (`tensorflow=IMAGE,pytorch=IMAGE`); without it the program itself is started.
"""

import io
import json

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.serving_image.contract_servers import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
ROWS = [[1.0, 2.0], [3.0, 4.0]]
SCORES = [[5.0], [11.0]]
NPY = "application/x-npy"
PREDICT_ROUTES = ["/predict", "/invocations", "/v1/models/model:predict", "/v1/models/model/versions/1:predict"]
HANDLER = """
import json

def handle(data, context):
    return [answer(row, context, i) for i, row in enumerate(data or [])]

def answer(row, context, i):
    value = row.get("data", row.get("body", row))
    if value in ("raise", b"raise"):
        raise ValueError("this row is bad")
    if value in ("parameters", b"parameters"):
        return json.loads(context.get_request_header(i, "x-modeldrop-parameters"))
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": len(value)}
    if value == "text":
        return "said"
    if isinstance(value, list):
        return sum(value)
    return value
"""
SCORE = """
def load_model():
    return 2

def predict(data, model=load_model(), parameters=None):
    rows = data["rows"] if isinstance(data, dict) else data
    more = (parameters or {}).get("more", 0)
    return {"prediction": [model * sum(row) + more for row in rows]}
"""


@pytest.fixture(scope="session")
def contract_scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("contracts")


@pytest.fixture(scope="session")
def saved(signatures_model, contract_scratch):
    with serving("saved_model", signatures_model, contract_scratch / "saved") as server:
        yield server


@pytest.fixture(scope="session")
def scripted(archives, contract_scratch):
    with serving("torchscript", archives / "own", contract_scratch / "scripted") as server:
        yield server


@pytest.fixture(scope="session")
def handled(build_archive, contract_scratch):
    (contract_scratch / "own_handler.py").write_text(HANDLER)
    folder = build_archive(contract_scratch / "handled", "--handler", str(contract_scratch / "own_handler.py"))
    with serving("handler", folder, contract_scratch / "r-handled") as server:
        yield server


@pytest.fixture(scope="session")
def scored(contract_scratch):
    folder = contract_scratch / "scored"
    folder.mkdir()
    (folder / "score.py").write_text(SCORE)
    folder.chmod(0o755)
    routes = {"MODEL_DEPLOY_PREDICT_ENDPOINT": "/score", "MODEL_DEPLOY_HEALTH_ENDPOINT": "/alive"}
    with serving("score", folder, contract_scratch / "r-scored", **routes) as server:
        yield server


def error_of(answer):
    return answer.json()["error"]


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def array_in(answer):
    assert answer.headers["content-type"] == NPY, answer.text
    return np.load(io.BytesIO(answer.content))


# --- TF Serving and KServe V1 ------------------------------------------------------------------------------------
def test_the_model_its_status_and_its_metadata_are_told_as_tf_serving_tells_them(saved):
    assert saved.ask("GET", "/v1/models").json() == {"models": ["model"]}
    for path in ("/v1/models/model", "/v1/models/model/versions/1"):
        status = saved.ask("GET", path).json()
        assert (status["name"], status["ready"]) == ("model", True)
        assert [(v["version"], v["state"]) for v in status["model_version_status"]] == [("1", "AVAILABLE")]
    metadata = saved.ask("GET", "/v1/models/model/metadata").json()
    assert metadata["model_spec"]["name"] == "model"
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert sorted(signatures) == ["length", "mean", "ratio", "serving_default", "text"]
    ids = signatures["text"]["inputs"]["ids"]
    assert (ids["dtype"], [d["size"] for d in ids["tensor_shape"]["dim"]]) == ("DT_INT32", ["-1", "-1"])


@pytest.mark.parametrize("path", PREDICT_ROUTES)
def test_curl_gets_rows_and_columns_predicted_whatever_type_it_says(saved, path):
    status, body = saved.curl("--data", json.dumps({"instances": ROWS}), path=path)
    assert (status, json.loads(body)) == (200, {"predictions": SCORES})
    named = json.dumps({"inputs": {"x": ROWS}})
    status, body = saved.curl("--header", "Content-Type: application/json", "--data", named, path=path)
    assert (status, json.loads(body)) == (200, {"outputs": SCORES})


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        ("/v1/models/other", 404, "unknown_model", "this server has 'model'"),
        ("/v1/models/other:predict", 404, "unknown_model", "'other'"),
        ("/v1/models/model/versions/7", 404, "unknown_version", "'7'"),
        ("/v1/models/model:classify", 404, "unsupported_method", "classify"),
        ("/v1/models/model:regress", 404, "unsupported_method", "signature_name"),
        ("/v1/models/model/labels/x", 404, "unknown_path", "/v1/models/model/labels/x"),
        ("/v1/models/model:predict", 405, "wrong_method", "POST"),
    ],
)
def test_what_is_not_there_is_said(saved, path, status, code, said):
    answer = saved.ask("GET", path)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert said in error_of(answer)["message"]


# --- every signature ---------------------------------------------------------------------------------------------
TEXTS = [{"text": "ab", "ids": [1, 2]}, {"text": "c", "ids": [3, 4]}]
SHOUTED = {"predictions": [{"shout": "AB", "total": 3}, {"shout": "C", "total": 7}]}


@pytest.mark.parametrize(
    ("said", "headers"),
    [
        ({"signature_name": "text"}, {}),
        ({"parameters": {"signature_name": "text"}}, {}),
        ({}, {"X-Modeldrop-Signature": "text"}),
        ({}, {ATTRIBUTES: "trace=t;signature_name=text"}),
    ],
)
def test_a_signature_is_chosen_in_the_body_by_a_parameter_or_a_header(saved, said, headers):
    path = "/invocations" if ATTRIBUTES in headers else "/v1/models/model:predict"
    answer = saved.ask("POST", path, json={**said, "instances": TEXTS}, headers=headers)
    assert (answer.status_code, answer.json()) == (200, SHOUTED)


def test_an_unknown_signature_is_refused_with_those_that_there_are(saved):
    answer = saved.ask("POST", "/v1/models/model:predict", json={"signature_name": "best", "instances": ROWS})
    assert (answer.status_code, error_of(answer)["where"]) == (400, "signature_name")
    assert error_of(answer)["message"] == (
        "the model has no signature 'best'; it has serving_default, length, mean, ratio, text"
    )


def test_a_signature_without_a_batch_axis_takes_and_gives_whole_values(saved):
    ratio = {"signature_name": "ratio", "inputs": {"above": 3, "below": 2}}
    assert saved.ask("POST", "/predict", json=ratio).json() == {"outputs": 1.5}
    rows = saved.ask("POST", "/predict", json={"signature_name": "ratio", "instances": [{"above": 3, "below": 2}]})
    assert (rows.status_code, error_of(rows)["code"]) == (400, "no_rows")


def test_an_output_without_a_batch_axis_is_given_whole_where_tensors_are_asked_for(saved, asked):
    mean = {"signature_name": "mean", "inputs": ROWS}
    assert saved.ask("POST", "/v1/models/model:predict", json=mean).json() == {"outputs": 2.5}
    answer = asked(saved).infer("model", [tensor("x", ROWS, "FP32")], parameters={"signature_name": "mean"})
    assert answer.as_numpy("mean") == np.float32(2.5)
    rows = saved.ask("POST", "/v1/models/model:predict", json={"signature_name": "mean", "instances": ROWS})
    assert (rows.status_code, error_of(rows)["code"]) == (500, "unsplittable_output")


def test_a_number_that_is_not_finite_is_null_and_counted(saved):
    answer = saved.ask("POST", "/predict", json={"signature_name": "ratio", "inputs": {"above": 3, "below": 0}})
    assert (answer.json(), answer.headers["X-Modeldrop-Nonfinite"]) == ({"outputs": None}, "1")


# --- media types -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", PREDICT_ROUTES)
def test_an_array_is_taken_and_given_as_npy(saved, path):
    body = {"content": npy(np.array(ROWS)), "headers": {"content-type": NPY}}
    assert saved.ask("POST", path, **body).json() == {"predictions": SCORES}
    body["headers"]["accept"] = NPY
    np.testing.assert_array_equal(array_in(saved.ask("POST", path, **body)), np.array(SCORES, "f4"))
    answer = saved.ask("POST", path, json={"instances": ROWS}, headers={"accept": f"{NPY}, application/json;q=0.5"})
    np.testing.assert_array_equal(array_in(answer), np.array(SCORES, "f4"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no numpy", "no .npy file"),
        (npy(np.zeros((2, 2)))[:-1], "not an array of shape [2, 2]"),
        (npy(np.zeros((2, 3))), "expected shape [?, 2], got [2, 3]"),
        (npy(np.array(["a"])), "expected float32"),
        (npy(np.zeros((0, 2))), "holds no values"),
    ],
)
def test_an_array_that_cannot_be_read_is_refused_with_the_reason(saved, content, said):
    answer = saved.ask("POST", "/invocations", content=content, headers={"content-type": NPY})
    assert answer.status_code == 400
    assert said in error_of(answer)["message"]


def test_raw_bytes_and_base64_are_what_a_signature_of_strings_takes(saved):
    raw = {"content-type": "image/png", "X-Modeldrop-Signature": "length"}
    assert saved.ask("POST", "/predict", content=b"\x89PNG", headers=raw).json() == {"predictions": [4]}
    packed = {"signature_name": "length", "instances": [{"b64": "iVBORw=="}, {"file": {"b64": "iVBO"}}]}
    assert saved.ask("POST", "/predict", json=packed).json() == {"predictions": [4, 3]}


@pytest.mark.parametrize(
    ("headers", "refusal", "listed"),
    [
        ({"content-type": "image/png"}, (415, "content-type"), "application/json and application/x-npy"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, (415, "content-encoding"), "gzip"),
        ({"accept": "text/csv"}, (406, "accept"), "application/json or application/x-npy"),
    ],
)
@pytest.mark.parametrize("path", PREDICT_ROUTES)
def test_a_type_that_is_not_taken_or_given_is_refused_with_those_that_are(saved, headers, refusal, listed, path):
    answer = saved.ask("POST", path, content=json.dumps({"instances": ROWS}), headers=headers)
    assert (answer.status_code, error_of(answer)["where"]) == refusal
    assert listed in error_of(answer)["message"]


# --- SageMaker ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("server", ["saved", "scripted", "handled", "scored"])
def test_sagemaker_finds_ping_and_the_digest_in_custom_attributes(request, server):
    server = request.getfixturevalue(server)
    assert server.ask("GET", "/ping").status_code == 200
    probe = server.ask("POST", "/invocations", content=b"", headers={ATTRIBUTES: "modeldrop-probe"})
    assert probe.headers[ATTRIBUTES].startswith("digest=sha256:")


# --- Open Inference Protocol V2, by Triton's own client ----------------------------------------------------------
@pytest.fixture(scope="session")
def asked():
    """Triton's client on a server; each is closed in the end."""
    clients = []

    def client(server):
        clients.append(triton.InferenceServerClient(server.address, network_timeout=60, connection_timeout=60))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def tensor(name, values, datatype, *, binary=True):
    array = np.array(values, dtype=object if datatype == "BYTES" else triton_dtype(datatype))
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def triton_dtype(datatype):
    return {"FP32": "f4", "FP64": "f8", "INT32": "i4", "INT64": "i8", "BOOL": "?"}[datatype]


@pytest.mark.parametrize("server", ["saved", "scripted", "handled", "scored"])
def test_triton_finds_server_and_model_alive_and_ready(request, asked, server):
    client = asked(request.getfixturevalue(server))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("model")
    assert client.is_model_ready("model", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.get_model_metadata("model")["versions"] == ["1"]


def test_triton_is_told_names_types_and_shapes(saved, asked):
    metadata = asked(saved).get_model_metadata("model", "1")
    assert metadata["platform"] == "tensorflow_savedmodel"
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert metadata["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tensors_travel_as_json_and_as_bytes_both_ways(saved, asked, binary_in, binary_out):
    wanted = [triton.InferRequestedOutput("score", binary_data=binary_out)]
    answer = asked(saved).infer("model", [tensor("x", ROWS, "FP32", binary=binary_in)], outputs=wanted, request_id="7")
    np.testing.assert_array_equal(answer.as_numpy("score"), np.array(SCORES, "f4"))
    said = answer.get_response()
    assert (said["id"], said["model_name"], said["model_version"]) == ("7", "model", "1")
    assert ("data" in said["outputs"][0]) is not binary_out


@pytest.mark.parametrize("binary", [True, False])
def test_strings_and_a_named_signature_by_triton(saved, asked, binary):
    inputs = [tensor("text", [b"a\xc3\xa9", b""], "BYTES", binary=binary), tensor("ids", [[1, 2], [3, 4]], "INT32")]
    answer = asked(saved).infer("model", inputs, parameters={"signature_name": "text"})
    assert answer.as_numpy("shout").tolist() == [b"A\xc3\xa9", b""]
    assert answer.as_numpy("total").tolist() == [3, 7]
    only = [triton.InferRequestedOutput("total")]
    few = asked(saved).infer("model", inputs, outputs=only, parameters={"signature_name": "text"}).get_response()
    assert [output["name"] for output in few["outputs"]] == ["total"]


@pytest.mark.parametrize(
    ("given", "options", "refusal"),
    [
        (("y", ROWS, "FP32"), {}, (400, "input 'x' is missing")),
        (("x", [[1.0]], "FP32"), {}, (400, "expected shape [?, 2], got [1, 1]")),
        (("x", [[b"a", b"b"]], "BYTES"), {}, (400, "expected float32")),
        (("x", [[1e300, 0.0]], "FP64"), {}, (400, "does not fit float32 (at inputs.x[0][0])")),
        (("x", ROWS, "FP32"), {"outputs": [triton.InferRequestedOutput("y")]}, (400, "'y' is no output")),
        (("x", ROWS, "FP32"), {"model_name": "other"}, (404, "this server has 'model'")),
        (("x", ROWS, "FP32"), {"model_version": "2"}, (404, "this server has '1'")),
        (("x", ROWS, "FP32"), {"parameters": {"signature_name": "best"}}, (400, "it has serving_default, length")),
    ],
)
def test_triton_is_told_what_was_wrong(saved, asked, given, options, refusal):
    with pytest.raises(InferenceServerException) as error:
        asked(saved).infer(**{"model_name": "model", **options}, inputs=[tensor(*given)])
    status, said = refusal
    assert error.value.status() == str(status)
    assert said in error.value.message()


def test_what_triton_has_and_this_server_has_not_is_said_in_the_protocols_form(saved, asked):
    with pytest.raises(InferenceServerException, match="/v2/repository/index is no route of this server"):
        asked(saved).get_model_repository_index()
    wrong = saved.ask("GET", "/v2/models/model/infer")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"] == "/v2/models/model/infer takes POST, not GET"


def test_the_models_own_parameters_reach_a_handler_without_the_protocols(handled, asked):
    answer = asked(handled).infer("model", [tensor("data", [b"parameters"], "BYTES")], parameters={"top": 3})
    assert json.loads(answer.as_numpy("predictions")[0]) == {"top": 3}


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"shape": [2, 3]}, "inputs[0].data"),
        ({"shape": [-1]}, "inputs[0].shape"),
        ({"datatype": "FP31"}, "inputs[0].datatype"),
        ({"datatype": "BOOL"}, "inputs[0].data"),
        ({"data": [1, 2, "a", 4]}, "inputs[0].data"),
        ({"name": None}, "inputs[0].name"),
        ({"parameters": {"binary_data_size": 8}}, "inputs[0].parameters.binary_data_size"),
        ({"parameters": {"shared_memory_region": "r"}}, "inputs[0].parameters"),
    ],
)
def test_a_tensor_that_does_not_hold_together_is_named(saved, changed, where):
    given = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4], **changed}
    answer = saved.ask("POST", "/v2/models/model/infer", json={"inputs": [given]})
    assert (answer.status_code, answer.json()["where"]) == (400, where)
    assert isinstance(answer.json()["error"], str)


def test_what_is_not_finite_is_null_in_json_itself_in_bytes_and_counted_in_both(saved):
    inputs = [{"name": n, "datatype": "FP32", "shape": [], "data": [v]} for n, v in (("above", 1), ("below", 0))]
    body = {"inputs": inputs, "parameters": {"signature_name": "ratio"}}
    answer = saved.ask("POST", "/v2/models/model/infer", json=body)
    assert answer.json()["outputs"] == [{"name": "ratio", "datatype": "FP32", "shape": [], "data": [None]}]
    body["parameters"]["binary_data_output"] = True
    raw = saved.ask("POST", "/v2/models/model/infer", json=body)
    assert np.frombuffer(raw.content[int(raw.headers["Inference-Header-Content-Length"]) :], "<f4") == [np.inf]
    assert answer.headers["X-Modeldrop-Nonfinite"] == raw.headers["X-Modeldrop-Nonfinite"] == "1"


# --- TorchScript -------------------------------------------------------------------------------------------------
FOUR = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]]


def test_torchscript_answers_every_contract_alike(scripted, asked):
    rows = scripted.ask("POST", "/predict", json={"instances": FOUR}).json()["predictions"]
    assert np.array(rows).shape == (2, 2)
    assert scripted.ask("POST", "/v1/models/model:predict", json={"inputs": FOUR}).json() == {"outputs": rows}
    assert scripted.ask("POST", "/predictions/model", json=FOUR[0]).json() == pytest.approx(rows[0])
    for path in ("/predict", "/invocations"):
        headers = {"content-type": NPY, "accept": NPY}
        answer = scripted.ask("POST", path, content=npy(np.array(FOUR, "f4")), headers=headers)
        assert array_in(answer) == pytest.approx(np.array(rows))
    for datatype in ("FP32", "FP64"):
        answer = asked(scripted).infer("model", [tensor("any", FOUR, datatype)])
        assert answer.as_numpy("output_0") == pytest.approx(np.array(rows))


def test_torchscript_refuses_what_is_no_array(scripted, asked):
    image = scripted.ask("POST", "/invocations", content=b"\x89PNG", headers={"content-type": "image/png"})
    assert (image.status_code, error_of(image)["code"]) == (415, "unsupported_media_type")
    named = scripted.ask("POST", "/predict", json={"instances": FOUR, "signature_name": "best"})
    assert (named.status_code, error_of(named)["code"]) == (400, "unknown_signature")
    with pytest.raises(InferenceServerException, match="takes one input"):
        asked(scripted).infer("model", [tensor("a", FOUR, "FP32"), tensor("b", FOUR, "FP32")])


# --- a handler of one's own --------------------------------------------------------------------------------------
def test_a_handler_gets_rows_from_every_contract(handled):
    for path in ("/predict", "/v1/models/model:predict"):
        answer = handled.ask("POST", path, json={"instances": [[1, 2], {"data": [3]}, {"b64": "AAEC"}, "text"]})
        assert answer.json() == {"predictions": [3, 3, {"bytes": 3}, "said"]}
    for path in ("/predictions/model", "/invocations"):
        assert handled.ask("POST", path, json=[1, 2]).json() == 3
        answer = handled.ask("POST", path, content=b"\x89PNG", headers={"content-type": "image/png"})
        assert answer.json() == {"bytes": 4}
    answer = handled.ask("POST", "/predict", content=b"\x89PNG", headers={"content-type": "image/png"})
    assert answer.json() == {"predictions": [{"bytes": 4}]}
    assert handled.ask("POST", "/predictions/model", json="text").text == "said"


def test_a_handler_gets_arrays_as_rows_by_an_instances_contract_and_may_answer_with_one(handled):
    body = {"content": npy(np.array([[1, 2], [3, 4]])), "headers": {"content-type": NPY, "accept": NPY}}
    assert array_in(handled.ask("POST", "/predict", **body)).tolist() == [3, 7]
    text = handled.ask("POST", "/predict", json={"instances": ["text"]}, headers={"accept": NPY})
    assert (text.status_code, error_of(text)["where"]) == (406, "accept")


def test_vertexs_parameters_reach_a_handler_as_a_header(handled):
    answer = handled.ask("POST", "/predict", json={"instances": ["parameters"], "parameters": {"top": 3}})
    assert answer.json() == {"predictions": [{"top": 3}]}


def test_a_handlers_own_error_is_said_in_each_contracts_form(handled, asked):
    answer = handled.ask("POST", "/predict", json={"instances": ["raise"]})
    assert (answer.status_code, error_of(answer)["code"]) == (500, "model_error")
    with pytest.raises(InferenceServerException, match="this row is bad") as error:
        asked(handled).infer("model", [tensor("data", [b"raise"], "BYTES")])
    assert error.value.status() == "500"


def test_triton_gives_a_handler_one_row_for_each_entry_and_gets_one_output(handled, asked):
    numbers = asked(handled).infer("model", [tensor("anything", [[1, 2], [3, 4]], "INT64")])
    assert numbers.as_numpy("predictions").tolist() == [3, 7]
    several = asked(handled).infer("model", [tensor("a", [1, 2], "INT64"), tensor("b", [True, False], "BOOL")])
    assert [json.loads(row) for row in several.as_numpy("predictions")] == [{"a": 1, "b": True}, {"a": 2, "b": False}]
    files = asked(handled).infer("model", [tensor("image", [b"\x89PNG", b""], "BYTES")])
    assert [json.loads(row) for row in files.as_numpy("predictions")] == [{"bytes": 4}, {"bytes": 0}]


# --- OCI ---------------------------------------------------------------------------------------------------------
def test_a_score_file_is_called_where_the_environment_says_and_answers_in_its_own_words(scored):
    assert scored.ask("GET", "/alive").status_code == 200
    for path in ("/score", "/predict", "/invocations"):
        answer = scored.ask("POST", path, json={"rows": [[1, 2], [3, 4]]})
        assert (answer.status_code, answer.json()) == (200, {"prediction": [6, 14]})
    for path in ("/score", "/predict", "/v1/models/model:predict"):
        answer = scored.ask("POST", path, json={"instances": [[1, 2], [3, 4]]})
        assert (answer.status_code, answer.json()) == (200, {"predictions": [6, 14]})


def test_a_score_file_that_asks_for_parameters_gets_them_by_every_contract_that_has_some(scored, asked):
    body = {"instances": [[1, 2], [3, 4]], "parameters": {"more": 100}}
    assert scored.ask("POST", "/predict", json=body).json() == {"predictions": [106, 114]}
    inputs = [tensor("data", [[1, 2], [3, 4]], "INT64")]
    answer = asked(scored).infer("model", inputs, parameters={"more": 10})
    assert answer.as_numpy("predictions").tolist() == [16, 24]
    assert asked(scored).infer("model", inputs).as_numpy("predictions").tolist() == [6, 14]
