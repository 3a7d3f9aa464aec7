"""Real models, built once a session, and the real program started on them."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving_world import running

BIN = Path(sys.executable).parent


@pytest.fixture
def run(tmp_path):
    """Start replicas that end with the test; several may run in one test."""
    with contextlib.ExitStack() as stack:
        count = iter(range(100))
        yield lambda folder, **env: stack.enter_context(running(folder, tmp_path / f"r{next(count)}", **env))


def archive(folder: Path, *options: str) -> Path:
    """Build FOLDER/model.mar with the real archiver; each build has its own TMPDIR, which it wipes."""
    scratch = folder.with_name(folder.name + "-tmp")
    scratch.mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [BIN / "torch-model-archiver", "--model-name", "model", "--version", "1", "--export-path", folder, *options],
        check=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
    )
    shutil.rmtree(scratch)
    return folder


@pytest.fixture(scope="session")
def build_archive():
    return archive


@pytest.fixture
def handler_archive(tmp_path):
    """An archive made of a handler's source and whatever else the archiver takes."""

    def build(source: str, *options: str, name: str = "handler", handler: str | None = None) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        return archive(tmp_path / f"version-{name}", "--handler", handler or str(path), *options)

    return build


CUSTOM = '''
"""Says what it was given; some values are commands."""
import os, threading, time

class Handler:
    def initialize(self, context):
        self.folder = context.system_properties["model_dir"]
        self.labels = open("labels.txt").read().split()
        self.calls = []
        print("initialized")

    def handle(self, data, context):
        self.calls.append(len(data))
        return [self.answer(i, row, context) for i, row in enumerate(data)]

    def answer(self, i, row, context):
        value = row.get("data") or row.get("body") if set(row) & {"data", "body"} else row
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": len(value)}
        command = value.get("command") if isinstance(value, dict) else None
        match command:
            case "raise": raise ValueError("this row is bad")
            case "exit": raise SystemExit(7)
            case "nan": return [float("nan"), 1.5, float("-inf")]
            case "wait":
                while not os.path.exists(value["for"]):
                    time.sleep(0.005)
                return "waited"
            case "calls": return self.calls
            case "bytes": return b"\\x00raw"
            case "text": return "plain"
            case "status":
                context.set_response_status(418, "teapot", i)
                context.set_response_header(i, "x-own", "yes")
                return {"status": 418}
            case "context":
                return {
                    "manifest": context.manifest["model"]["modelName"],
                    "header": context.get_request_header(i, "x-test"),
                    "id": bool(context.get_request_id(i)),
                    "config": context.model_yaml_config,
                    "properties": sorted(context.system_properties),
                    "environment": sorted(os.environ),
                }
            case "object": return object()
            case "headers":
                headers = context.get_all_request_header(i)
                return [headers.get("X-Test"), context.get_request_header(i, "X-Test"), "no such" in headers]
            case "csv":
                context.set_response_content_type(i, "text/csv")
                return "a,b"
            case "refuse":
                from ts.utils.util import PredictionException
                raise PredictionException("no such row", 409)
            case "values": return {"a": [1, 2.5, True, None], "é": "ü"}
            case "none": return None
        return {"got": value, "label": self.labels[0], "row": sorted(row)}
'''


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def custom_folder(models):
    (models / "own_handler.py").write_text(CUSTOM)
    (models / "labels.txt").write_text("cat dog")
    handler, labels = str(models / "own_handler.py"), str(models / "labels.txt")
    return archive(models / "custom", "--handler", handler, "--extra-files", labels)


@pytest.fixture(scope="session")
def custom(custom_folder, models):
    with running(custom_folder, models / "r-custom") as replica:
        yield replica.until_ready()


@pytest.fixture(scope="session")
def script_module():
    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())


@pytest.fixture(scope="session")
def script_folder(models, script_module):
    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.save(torch.jit.trace(script_module, torch.zeros(1, 4)), models / "weights.pt")
    serialized = str(models / "weights.pt")
    return archive(models / "script", "--handler", "base_handler", "--serialized-file", serialized)


@pytest.fixture(scope="session")
def script(script_folder, models):
    with running(script_folder, models / "r-script") as replica:
        yield replica.until_ready()


BUILD_SAVED_MODELS = """
import sys, keras, tensorflow as tf
keras.utils.set_random_seed(0)
one = keras.Sequential([keras.layers.Input((2, 2), name="pixels"), keras.layers.Flatten(), keras.layers.Dense(3)])
one.export(sys.argv[1] + "/keras", verbose=False)

class Two(tf.Module):
    @tf.function(input_signature=[
        tf.TensorSpec([None], tf.string, name="text"), tf.TensorSpec([None, None], tf.int32, name="ids")])
    def serve(self, text, ids):
        length = tf.strings.length(text)
        total = tf.reduce_sum(ids, axis=1)
        ratio = tf.cast(total, tf.float32) / tf.cast(length, tf.float32)
        return {"shout": tf.strings.upper(text), "total": total, "ratio": ratio}

two = Two()
tf.saved_model.save(two, sys.argv[1] + "/two", signatures={"serving_default": two.serve})

def field(number, body):
    length, head = len(body), bytes([number << 3 | 2])
    while length > 127:
        head, length = head + bytes([length & 127 | 128]), length >> 7
    return head + bytes([length]) + body

def tensor(name, values):
    return field(2, field(1, name.encode()) + field(2, tf.make_tensor_proto(values).SerializeToString()))

def predict_log(signature, **inputs):
    named = b"".join(tensor(name, values) for name, values in inputs.items())
    return field(6, field(1, field(1, field(1, b"two") + field(3, signature)) + named))

def record(folder, *logs):
    path = sys.argv[1] + folder + "/assets.extra/tf_serving_warmup_requests"
    tf.io.gfile.makedirs(sys.argv[1] + folder + "/assets.extra")
    with tf.io.TFRecordWriter(path) as out:
        for log in logs:
            out.write(log)

ids = tf.constant([[1, 2], [3, 4]], tf.int32)
good = predict_log(b"serving_default", text=["abc", "d"], ids=ids)
record("/two", good, predict_log(b"", text=["abc", "d"], ids=ids), field(2, b""))
tf.saved_model.save(two, sys.argv[1] + "/broken", signatures={"serving_default": two.serve})
record("/broken", good, predict_log(b"", text=["abc", "d"]))
"""


# An instance, two requests of the instances contract, one of the Open Inference Protocol.
WARMUP = """
{"text": "abc", "ids": [1, 2]}
{"instances": [{"text": "a", "ids": [1]}]}
{"instances": [{"text": "a", "ids": [1]}], "signature_name": "serving_default"}
{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}, \
{"name": "ids", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]}]}
"""


@pytest.fixture(scope="session")
def saved_models(models):
    """Keras' own export, and a module with two inputs and three outputs; TensorFlow stays out of this process."""
    subprocess.run([sys.executable, "-c", BUILD_SAVED_MODELS, models], check=True, capture_output=True)
    return models


@pytest.fixture(scope="session")
def keras_replica(saved_models, models):
    control = str(models / "keras-control")
    with running(saved_models / "keras", models / "r-keras", MODELDROP_CONTROL_SOCKET=control) as replica:
        yield replica.until_ready()


@pytest.fixture(scope="session")
def two_replica(saved_models, models):
    folder = saved_models / "two"
    (folder / "warmup.jsonl").write_text(WARMUP)
    with running(folder, models / "r-two") as replica:
        yield replica.until_ready()
