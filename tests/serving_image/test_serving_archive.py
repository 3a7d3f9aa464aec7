"""TorchServe archives over HTTP: the real archiver's files behind the real program."""

import concurrent.futures
import json
import socket
import zipfile

import pytest

PNG_HANDLER = "def handle(data, context):\n    return [len(row['body']) for row in data] if data else None\n"


def predict(replica, *instances):
    with replica.client() as client:
        return client.post("/predict", json={"instances": list(instances)})


def invoke(replica, path="/invocations", **request):
    with replica.client() as client:
        return client.post(path, **request)


def test_ready_says_that_nothing_could_be_tried(custom):
    with custom.client() as client:
        body = client.get("/ping").json()
    assert (body["status"], body["format"], body["schema"]) == ("ready", "torch_archive", None)
    assert body["warmup"] == "no sample request"


def test_an_instance_becomes_the_row_or_lies_under_data(custom):
    answer = predict(custom, 5, {"data": [1, 2]}, {"body": "x", "more": 1}, {"other": 1}, {"b64": "AAEC"})
    assert answer.json()["predictions"] == [
        {"got": 5, "label": "cat", "row": ["data"]},
        {"got": [1, 2], "label": "cat", "row": ["data"]},
        {"got": "x", "label": "cat", "row": ["body", "more"]},
        {"got": {"other": 1}, "label": "cat", "row": ["data"]},
        {"bytes": 3},
    ]


@pytest.mark.parametrize("path", ["/invocations", "/predictions/model", "/predictions/model/1"])
def test_a_native_request_is_one_row(custom, path):
    assert invoke(custom, path, json=[1, 2]).json() == {"got": [1, 2], "label": "cat", "row": ["body"]}
    assert invoke(custom, path, content=b"\x89PNG").json() == {"bytes": 4}
    text = invoke(custom, path, content=b"hi", headers={"content-type": "text/plain"})
    assert text.json()["got"] == "hi"


def test_form_fields_are_the_row_and_bytes_as_in_torchserve(custom):
    answer = invoke(custom, data={"data": "316", "name": "n"})
    assert answer.json() == {"bytes": 3}
    answer = invoke(custom, files={"data": ("a.png", b"12345", "image/png")}, data={"name": "n"})
    assert answer.json() == {"bytes": 5}


@pytest.mark.parametrize(
    ("command", "content", "content_type"),
    [("bytes", b"\x00raw", "application/octet-stream"), ("text", b"plain", "text/plain; charset=utf-8")],
)
def test_bytes_and_text_leave_as_they_are(custom, command, content, content_type):
    answer = invoke(custom, json={"command": command})
    assert (answer.content, answer.headers["content-type"]) == (content, content_type)
    assert answer.headers["X-Modeldrop-Digest"].startswith("sha256:")


def test_a_handler_sets_status_and_headers_by_its_context(custom):
    answer = invoke(custom, json={"command": "status"})
    assert (answer.status_code, answer.headers["x-own"], answer.json()) == (418, "yes", {"status": 418})


def test_the_context_shows_manifest_headers_and_properties(custom):
    seen = invoke(custom, json={"command": "context"}, headers={"X-Test": "t"}).json()
    assert (seen["manifest"], seen["header"], seen["id"], seen["config"]) == ("model", "t", True, {})
    assert {"model_dir", "gpu_id", "batch_size", "server_name", "server_version"} <= set(seen["properties"])


def test_what_is_not_finite_leaves_as_null_and_is_counted(custom):
    answer = predict(custom, {"data": {"command": "nan"}}, 1)
    assert answer.status_code == 200
    assert answer.headers["X-Modeldrop-Nonfinite"] == "2"
    assert answer.json()["predictions"][0] == [None, 1.5, None]


@pytest.mark.parametrize(("command", "message"), [("raise", "ValueError: this row is bad"), ("exit", "SystemExit: 7")])
def test_what_a_handler_raises_is_answered_and_names_the_instance(custom, command, message):
    answer = predict(custom, 1, {"data": {"command": command}}, 2)
    assert answer.status_code == 500
    assert answer.json() == {"error": {"code": "model_error", "message": message, "where": "instances[1]"}}
    assert predict(custom, 1).status_code == 200


def test_an_answer_without_a_json_form_is_the_models_error(custom):
    answer = predict(custom, {"data": {"command": "object"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "unencodable_answer")


def test_what_waits_becomes_one_batch_and_a_bad_row_hurts_no_neighbour(custom, tmp_path):
    gate = tmp_path / "gate"
    calls_before = len(invoke(custom, json={"command": "calls"}).json())
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
        first = pool.submit(invoke, custom, json={"command": "wait", "for": str(gate)})
        with custom.client() as client:
            custom.until(lambda: running_alone(client), "the model busy")
            rows = [pool.submit(predict, custom, i) for i in range(1, 6)]
            bad = pool.submit(predict, custom, {"data": {"command": "raise"}})
            custom.until(lambda: waiting(client) == 6, "six requests waiting")
        gate.touch()
        assert first.result().text == "waited"
        assert [row.result().json()["predictions"][0]["got"] for row in rows] == [1, 2, 3, 4, 5]
        assert bad.result().status_code == 500
    calls = invoke(custom, json={"command": "calls"}).json()[calls_before:]
    assert calls[:8] == [1, 6, 1, 1, 1, 1, 1, 1]


def waiting(client):
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("modeldrop_queue_requests ")))


def running_alone(client):
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("modeldrop_running_requests "))) == 1


def test_a_client_that_leaves_takes_its_work_out_of_the_queue(custom, tmp_path):
    gate = tmp_path / "gate"
    with concurrent.futures.ThreadPoolExecutor(1) as pool, custom.client() as client:
        first = pool.submit(invoke, custom, json={"command": "wait", "for": str(gate)})
        custom.until(lambda: running_alone(client), "the model busy")
        with socket.socket(socket.AF_UNIX) as left:
            left.connect(str(custom.socket))
            left.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 5\r\n\r\nnever")
            custom.until(lambda: waiting(client) == 1, "a request waiting")
        custom.until(lambda: waiting(client) == 0, "the queue empty")
        gate.touch()
        assert first.result().text == "waited"


def test_torchscript_behind_base_handler_runs_on_arrays(script, script_module):
    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    rows = [[1, 2, 3, 4], [0.5, -1, 0, 2]]
    expected = script_module(torch.tensor(rows)).detach().numpy()
    for row, answer in zip(expected, predict(script, *rows).json()["predictions"], strict=True):
        assert answer == pytest.approx(row.tolist())
    assert predict(script, {"data": rows[0]}, {"data": rows[1]}).json() == predict(script, *rows).json()
    assert invoke(script, json=rows[0]).json() == pytest.approx(expected[0].tolist())


def test_torchscript_names_the_instance_that_is_no_number(script):
    answer = predict(script, [1, 2, 3, 4], [1, 2, "3", 4])
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "instances[1][2]")
    answer = predict(script, [1, 2, 3, 4], [1, 2])
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, "instances[1]")


def test_a_function_is_a_handler(run, handler_archive):
    replica = run(handler_archive(PNG_HANDLER)).until_ready()
    assert invoke(replica, content=b"123").json() == 3


def test_a_named_function_is_a_handler(run, handler_archive, tmp_path):
    source = "def fn(data, context):\n    return ['fn'] * len(data or [])\n"
    replica = run(handler_archive(source, name="h", handler=f"{tmp_path}/h:fn")).until_ready()
    assert predict(replica, 1, 2).json() == {"predictions": ["fn", "fn"]}


ARRAYS = """
class Handler:
    accepts_arrays = True
    def initialize(self, context): pass
    def handle(self, data, context):
        return [[type(row["data"]).__name__, float(row["data"].sum())] for row in data]
"""


def test_a_handler_that_accepts_arrays_gets_them(run, handler_archive):
    replica = run(handler_archive(ARRAYS)).until_ready()
    assert predict(replica, [1, 2], [3, 4]).json()["predictions"] == [["ndarray", 3.0], ["ndarray", 7.0]]


ENVELOPE = """
class Handler:
    def initialize(self, context): pass
    def handle(self, data, context):
        return [[x, len(data)] for x in data]
"""


def test_the_json_envelope_and_batch_size_of_the_config_hold(run, handler_archive, tmp_path):
    config = tmp_path / "model-config.yaml"
    config.write_text("envelope: json\nbatchSize: 2\n")
    replica = run(handler_archive(ENVELOPE, "--config-file", str(config))).until_ready()
    assert predict(replica, "a", {"data": 1}, 3).json()["predictions"] == [["a", 2], [{"data": 1}, 2], [3, 1]]


def test_a_handler_that_only_knows_one_row_still_serves_several(run, handler_archive):
    source = "def handle(data, context):\n    return [data[0]['data']] if data else None\n"
    replica = run(handler_archive(source)).until_ready()
    assert predict(replica, 1, 2, 3).json() == {"predictions": [1, 2, 3]}


def test_a_wrong_number_of_answers_is_said(run, handler_archive):
    replica = run(handler_archive("def handle(data, context):\n    return [1, 2, 3]\n")).until_ready()
    error = predict(replica, 1).json()["error"]
    assert error["message"] == "the handler returned 3 items for 1 rows; it must return one item a row"


BAD_WEIGHTS = """class H:
    def initialize(self, context):
        raise OSError('no weights')
    def handle(self, data, context): ...
"""


@pytest.mark.parametrize(
    ("source", "error", "where"),
    [
        (BAD_WEIGHTS, "OSError: no weights", "handler.py:3"),
        ("import nowhere_to_be_found\n", "No module named 'nowhere_to_be_found'", "handler.py:1"),
        ("class A: ...\nclass B: ...\n", "exactly one class; found: A, B", ""),
        ("import sys\nsys.exit('gone')\n", "SystemExit: gone", "handler.py:2"),
        ("def handle(data, context:\n", "SyntaxError", "handler.py:1"),
    ],
)
def test_a_failed_load_says_the_models_own_error_and_line(run, handler_archive, source, error, where):
    replica = run(handler_archive(source))
    assert replica.until_exit() == 3
    (failure,) = replica.events("load_failed")
    assert error in failure["error"]
    assert where in failure["where"]
    assert len(failure["traceback"]) <= 4096
    assert not replica.events("ready")


def test_a_handler_that_nobody_has_is_named_beside_those_that_there_are(run, script_folder, tmp_path):
    replica = run(with_handler(script_folder, tmp_path / "version", "dali_image_classifier"))
    assert replica.until_exit() == 3
    error = replica.events("load_failed")[0]["error"]
    assert "handler 'dali_image_classifier' is neither a file of the archive nor one of base_handler, image" in error


def with_handler(folder, target, handler):
    """The same archive with another handler's name in its manifest."""
    target.mkdir()
    with zipfile.ZipFile(folder / "model.mar") as old, zipfile.ZipFile(target / "model.mar", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("MANIFEST.json"):
                manifest = json.loads(content)
                manifest["model"]["handler"] = handler
                content = json.dumps(manifest).encode()
            new.writestr(name, content)
    return target


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "a\\evil.py"])
def test_an_archive_cannot_write_outside_its_folder(run, tmp_path, name):
    folder = tmp_path / "version"
    folder.mkdir()
    with zipfile.ZipFile(folder / "model.mar", "w") as mar:
        mar.writestr(name, "x = 1")
    replica = run(folder)
    assert replica.until_exit() == 3
    assert "leaves the archive's folder" in replica.events("load_failed")[0]["error"]
    assert not list(tmp_path.rglob("evil.py"))


def test_a_warmup_request_that_raises_is_a_failed_load(run, handler_archive):
    source = "def handle(data, context):\n    return [1 / row['data'] for row in data or []]\n"
    folder = handler_archive(source)
    (folder / "warmup.jsonl").write_text("1\n0\n")
    replica = run(folder)
    assert replica.until_exit() == 3
    failure = replica.events("load_failed")[0]
    assert failure["error"] == "ZeroDivisionError: division by zero; warmup.jsonl line 2"
    assert failure["where"] == "handler.py:2"


def test_the_model_folder_is_only_read_and_nothing_is_left_behind(run, custom_folder, tmp_path):
    before = sorted(custom_folder.rglob("*"))
    replica = run(custom_folder).until_ready()
    assert predict(replica, 1).status_code == 200
    replica.process.terminate()
    assert replica.until_exit() == 0
    assert sorted(custom_folder.rglob("*")) == before
    assert list(replica.socket.parent.iterdir()) == []


EAGER = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
    def forward(self, x):
        y = self.linear(x)
        return {"logits": y, "best": y.argmax(1)}
"""


def test_a_class_with_its_weights_behind_base_handler_runs_on_arrays(run, build_archive, tmp_path):
    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    linear = torch.nn.Linear(4, 2)
    torch.save({"linear.weight": linear.weight, "linear.bias": linear.bias}, tmp_path / "weights.pt")
    (tmp_path / "net.py").write_text(EAGER)
    options = ("--model-file", str(tmp_path / "net.py"), "--serialized-file", str(tmp_path / "weights.pt"))
    replica = run(build_archive(tmp_path / "eager", "--handler", "base_handler", *options)).until_ready()
    expected = linear(torch.ones(1, 4)).detach()[0]
    (answer,) = predict(replica, [1, 1, 1, 1]).json()["predictions"]
    assert answer == {"logits": pytest.approx(expected.tolist()), "best": int(expected.argmax())}


LOGGING = """
import logging
def handle(data, context):
    if data:
        logging.getLogger("own").info("%d rows", "not a number")
        raise KeyError("lost")
"""


def test_what_a_handler_logs_and_raises_is_in_the_log(run, handler_archive):
    replica = run(handler_archive(LOGGING)).until_ready()
    assert predict(replica, 1).json()["error"]["message"] == "KeyError: 'lost'"
    replica.until(lambda: replica.events("model_error"), "the error logged")
    logged = [line for line in replica.events("log") if line["logger"] == "own"]
    assert logged[0]["message"] == "'%d rows' ('not a number',)"
    assert 'raise KeyError("lost")' in replica.events("model_error")[0]["traceback"]
