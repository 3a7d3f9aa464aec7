"""SavedModels over HTTP: real TensorFlow behind the real program."""

import hashlib
import json
import shutil

import httpx
import pytest

pytestmark = pytest.mark.slow
PIXELS = [[0.0, 1.0], [2.0, 3.0]]


def predict(replica, document, path="/predict"):
    with replica.client() as client:
        return client.post(path, json=document)


def test_ready_says_schema_digest_and_how_it_was_warmed(keras_replica):
    with keras_replica.client() as client:
        answer = client.get("/ping")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["format"], body["device"]) == ("ready", "saved_model", "cpu")
    assert body["schema"]["inputs"] == [{"name": "pixels", "dtype": "float32", "shape": [None, 2, 2]}]
    assert body["warmup"] == "one row of zeros from serving_default"
    assert body["digest"].startswith("sha256:")


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v1/models/model:predict", "/predictions/model"])
def test_every_contract_gives_the_same_prediction(keras_replica, path):
    answer = predict(keras_replica, {"instances": [PIXELS, PIXELS], "parameters": {}}, path)
    assert answer.status_code == 200
    first, second = answer.json()["predictions"]
    assert first == second == pytest.approx(predict(keras_replica, {"instances": [PIXELS]}).json()["predictions"][0])
    assert len(first) == 3


def test_column_format_answers_columns(keras_replica):
    rows = predict(keras_replica, {"instances": [PIXELS]}).json()["predictions"]
    assert predict(keras_replica, {"inputs": [PIXELS]}).json() == {"outputs": rows}
    assert predict(keras_replica, {"inputs": {"pixels": [PIXELS]}}).json() == {"outputs": rows}


def test_an_answer_says_the_digest_of_the_loaded_files(keras_replica, saved_models):
    folder = saved_models / "keras"
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    lines = b""
    for name in files:
        content = (folder / name).read_bytes()
        lines += name.encode() + b"\0" + str(len(content)).encode() + b"\0"
        lines += hashlib.sha256(content).hexdigest().encode() + b"\n"
    answer = predict(keras_replica, {"instances": [PIXELS]})
    assert answer.headers["X-Modeldrop-Digest"] == "sha256:" + hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize(
    ("instances", "where", "message"),
    [
        ([PIXELS, [[1, 2], [3]]], "instances[1][1]", "expected 2 values, got 1"),
        ([[1, 2]], "instances[0][0]", "expected a list of shape [2], got the number 1"),
        ([[[1, 2], [3, "4"]]], "instances[0][1][1]", "expected a number, got a string"),
        ([[[1, 2], [3, None]]], "instances[0][1][1]", "expected a number, got null"),
        ([[[1, 2], [3, [4]]]], "instances[0][1][1]", "expected a number, got a list of 1"),
        ([[[1, 2], [3, 1e39]]], "instances[0][1][1]", "1e+39 does not fit float32"),
        ([], "instances", '"instances" must be a list of at least one instance'),
        ("x", "instances", '"instances" must be a list of at least one instance'),
    ],
)
def test_an_instance_that_does_not_fit_the_schema_is_named(keras_replica, instances, where, message):
    answer = predict(keras_replica, {"instances": instances})
    assert answer.status_code == 400
    assert answer.json()["error"]["where"] == where
    assert answer.json()["error"]["message"] == message


def test_what_is_not_finite_leaves_as_null_and_is_counted(two_replica):
    answer = predict(two_replica, {"instances": [{"text": "", "ids": [0]}, {"text": "ab", "ids": [3]}]})
    assert answer.status_code == 200
    assert answer.headers["X-Modeldrop-Nonfinite"] == "1"
    assert [row["ratio"] for row in answer.json()["predictions"]] == [None, 1.5]


def test_several_inputs_and_outputs_are_objects_by_name(two_replica):
    answer = predict(
        two_replica, {"instances": [{"text": "abc", "ids": [1, 2]}, {"text": {"b64": "ZA=="}, "ids": [3, 4]}]}
    )
    assert "X-Modeldrop-Nonfinite" not in answer.headers
    assert answer.json()["predictions"] == [
        {"shout": "ABC", "total": 3, "ratio": 1.0},
        {"shout": "D", "total": 7, "ratio": 7.0},
    ]


def test_warmup_requests_of_the_version_are_replayed(two_replica):
    recorded = "assets.extra/tf_serving_warmup_requests"
    assert two_replica.events("ready")[0]["warmup"] == (
        f"2 requests of {recorded}, 1 classify requests not replayed of {recorded}, 4 requests of warmup.jsonl"
    )


def test_a_recorded_request_that_does_not_fit_is_a_failed_load_that_names_it(run, saved_models):
    replica = run(saved_models / "broken")
    assert replica.until_exit() == 3
    error = replica.events("load_failed")[0]["error"]
    assert "assets.extra/tf_serving_warmup_requests record 2" in error
    assert "'ids' is missing" in error


@pytest.mark.parametrize(
    ("instance", "where"),
    [
        ({"text": "a"}, "instances[1]"),
        ({"text": "a", "ids": [1, 2], "more": 1}, "instances[1]"),
        ({"text": "a", "ids": [1, 2.5]}, "instances[1].ids[1]"),
        ({"text": "a", "ids": [1, 2, 3]}, "instances[1].ids"),
        ({"text": "a", "ids": [1, 3000000000]}, "instances[1].ids[1]"),
        ({"text": 5, "ids": [1, 2]}, "instances[1].text"),
        ({"text": {"b64": "?"}, "ids": [1, 2]}, "instances[1].text"),
        (7, "instances[1]"),
    ],
)
def test_a_wrong_input_of_several_is_named(two_replica, instance, where):
    answer = predict(two_replica, {"instances": [{"text": "a", "ids": [1, 2]}, instance]})
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, where)


def test_rows_of_different_shapes_are_predicted_apart(two_replica):
    totals = [
        predict(two_replica, {"instances": [{"text": "a", "ids": ids}]}).json()["predictions"][0]["total"]
        for ids in ([1], [1, 2], [1, 2, 3])
    ]
    assert totals == [1, 3, 6]


def test_a_model_without_serving_default_fails_to_load(run, tmp_path):
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"not a protobuf")
    replica = run(folder)
    assert replica.until_exit() == 3
    failure = replica.events("load_failed")[0]
    assert set(failure) == {"event", "error", "where", "traceback"}
    assert json.dumps(failure)


def test_another_version_is_swapped_in_while_it_runs_and_answers_with_its_own_digest(
    keras_replica, saved_models, models
):
    shutil.copytree(saved_models / "keras", models / "keras-again")
    (models / "keras-again" / "note.txt").write_text("other bytes")
    transport = httpx.HTTPTransport(uds=str(models / "keras-control"))
    with keras_replica.client() as client, httpx.Client(transport=transport, base_url="http://c", timeout=60) as asker:
        answers = []
        for folder in ("keras-again", "keras"):
            swapped = asker.post("/load", json={"model_dir": str(models / folder)})
            assert swapped.status_code == 200, swapped.text
            answers.append(client.post("/predict", json={"instances": [[[1, 2], [3, 4]]]}))
            assert answers[-1].headers["X-Modeldrop-Digest"] == swapped.json()["digest"] != swapped.json()["was"]
    assert answers[0].json() == answers[1].json()
