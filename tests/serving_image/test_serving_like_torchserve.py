"""The same archives behind the real TorchServe and ours: the same answers, but for the differences listed here."""

import base64
import contextlib
import io
import json
import subprocess
import sys

import pytest

from tests.serving_world import running
from tests.torchserve_world import torchserve

pytestmark = pytest.mark.slow

FUNCTION = '''
"""One function; TorchServe calls it once without data when it loads."""
import json, os
loaded = {}

def fn(data, context):
    if data is None:
        folder = context.system_properties["model_dir"]
        loaded["names"] = json.load(open(os.path.join(folder, "index_to_name.json")))
        loaded["config"] = context.model_yaml_config
        return None
    return [answer(row["body"]) for row in data]

def answer(body):
    if body == "none":
        return None
    return {"name": loaded["names"][str(body)], "greeting": loaded["config"]["own"]["greeting"]}
'''
BASE = '''
"""As most handlers are written: TorchServe's own, with another way in."""
import torch
from ts.torch_handler.base_handler import BaseHandler

class Numbers(BaseHandler):
    def preprocess(self, data):
        rows = [row.get("data") or row.get("body") for row in data]
        return torch.tensor([[float(x) for x in row["numbers"]] for row in rows])

    def postprocess(self, data):
        self.context.metrics.add_counter("rows_seen", len(data))
        self.context.metrics.add_time("half", 0.5, unit="s")
        return list(data) if self.context.get_request_header(0, "X-Raw") else data.tolist()
'''
BUILD = """
import sys, torch

class Classes(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 4, 16, stride=16)
        self.classes = torch.nn.Linear(4, 6)

    def forward(self, x):
        return self.classes(torch.relu(self.patches(x)).mean((2, 3)))

torch.manual_seed(0)
torch.jit.script(Classes()).save(sys.argv[1] + "/classes.pt")
torch.jit.script(torch.nn.Linear(2, 3)).save(sys.argv[1] + "/linear.pt")
"""
ANIMALS = ("cat", "dog", "bird", "fish", "cow", "owl")
CONFIG = "batchSize: 4\nmaxBatchDelay: 5\nminWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 60\nown:\n  greeting: hello\n"


def png() -> bytes:
    from PIL import Image  # noqa: PLC0415 - only where pictures are tested

    picture = Image.new("RGB", (48, 32), (200, 30, 90))
    picture.paste((10, 200, 40), (8, 8, 24, 30))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def folders(custom_folder, build_archive, tmp_path_factory):
    home = tmp_path_factory.mktemp("like")
    (home / "build.py").write_text(BUILD)  # a file: TorchScript reads the source of what it compiles
    subprocess.run([sys.executable, "-W", "ignore", home / "build.py", home], check=True)
    (home / "index_to_name.json").write_text(json.dumps({str(i): name for i, name in enumerate(ANIMALS)}))
    (home / "h.py").write_text(FUNCTION)
    (home / "numbers_handler.py").write_text(BASE)
    (home / "model-config.yaml").write_text(CONFIG)

    def build(name, *options):
        return build_archive(home / name, *options)

    names = ("--extra-files", str(home / "index_to_name.json"))
    weights = ("--serialized-file", str(home / "linear.pt"))
    pictures = ("--serialized-file", str(home / "classes.pt"))
    return {
        "custom": custom_folder,
        "function": build(
            "function", "--handler", f"{home}/h:fn", "--config-file", str(home / "model-config.yaml"), *names
        ),
        "numbers": build("numbers", "--handler", str(home / "numbers_handler.py"), *weights),
        "pictures": build("pictures", "--handler", "image_classifier", *pictures, *names),
    }


@pytest.fixture(scope="module")
def ours(folders, custom, tmp_path_factory):
    """A replica for each archive, all started at once."""
    scratch = tmp_path_factory.mktemp("ours")
    with contextlib.ExitStack() as stack:
        others = {
            name: stack.enter_context(running(folder, scratch / name, MODELDROP_THREADS="1"))
            for name, folder in folders.items()
            if name != "custom"
        }
        yield {"custom": custom, **{name: replica.until_ready() for name, replica in others.items()}}


@pytest.fixture(scope="module")
def theirs(folders, tmp_path_factory):
    with torchserve(folders, tmp_path_factory.mktemp("torchserve") / "home") as client:
        yield client


def ask_ours(ours, name, **request):
    with ours[name].client() as client:
        return client.request(request.pop("method", "POST"), "/predictions/model", **request)


def ask_theirs(theirs, name, **request):
    return theirs.request(request.pop("method", "POST"), f"/predictions/{name}", **request)


def value(answer):
    """What an answer says: JSON however it is spaced, else its bytes."""
    try:
        return json.loads(answer.content)
    except ValueError:
        return answer.content


def typed(kind, content):
    return {"content": content, "headers": {"content-type": kind}}


PNG = png()
SAME = {
    "a list": ("custom", {"json": [1, 2]}),
    "a number": ("custom", {"json": 3}),
    "an object with data": ("custom", {"json": {"data": [1]}}),
    "JSON with a charset": ("custom", typed("application/json; charset=utf-8", b"[1]")),
    "bytes of no type": ("custom", {"content": b"\x89PNG"}),
    "bytes of a type": ("custom", typed("image/png", b"\x89PN")),
    "PUT, as curl -T sends it": ("custom", {"method": "PUT", "content": b"\x89P"}),
    "nothing": ("custom", {}),
    "text": ("custom", typed("text/plain", "hü".encode())),
    "text of another kind": ("custom", typed("text/csv; charset=utf-8", b"1,2")),
    "a form": ("custom", {"data": {"data": "316", "name": "n"}}),
    "a form with a file": ("custom", {"files": {"data": ("a.png", b"12345", "image/png")}, "data": {"name": "n"}}),
    "a form with JSON": ("custom", {"files": {"data": ("a.json", b"[1,2]", "application/json")}}),
    "a form field of no type": ("custom", {"files": {"data": (None, b"12")}}),
    "bytes back": ("custom", {"json": {"command": "bytes"}}),
    "text back": ("custom", {"json": {"command": "text"}}),
    "JSON of all kinds back": ("custom", {"json": {"command": "values"}}),
    "None back": ("custom", {"json": {"command": "none"}}),
    "a status and a header": ("custom", {"json": {"command": "status"}}),
    "a content type": ("custom", {"json": {"command": "csv"}}),
    "request headers": ("custom", {"json": {"command": "headers"}, "headers": {"X-Test": "t"}}),
    "a function, its files and its configuration": ("function", {"json": 3}),
    "None of a function": ("function", {"json": "none"}),
    "a subclass of BaseHandler": ("numbers", {"json": {"numbers": [1, 2]}}),
    "a tensor as it is": ("numbers", {"json": {"numbers": [1, 2]}, "headers": {"X-Raw": "1"}}),
    "a picture": ("pictures", {"content": PNG}),
    "a picture with its type": ("pictures", typed("image/png", PNG)),
    "a picture in a form": ("pictures", {"files": {"data": ("a.png", PNG, "image/png")}}),
    "a picture as base64": ("pictures", typed("text/plain", base64.b64encode(PNG))),
    "a picture as numbers": ("pictures", {"json": [[[0.5] * 16] * 16] * 3}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_answer_is_torchserves(ours, theirs, name):
    archive, request = SAME[name]
    mine, other = ask_ours(ours, archive, **request), ask_theirs(theirs, archive, **request)
    assert (mine.status_code, value(mine)) == (other.status_code, value(other))
    # TorchServe names a type only where the handler does; where it does, so do we.
    if "content-type" in other.headers:
        assert mine.headers["content-type"] == other.headers["content-type"]
    assert mine.headers.get("x-own") == other.headers.get("x-own")


FAILED = {
    "a handler that raises": ("custom", {"json": {"command": "raise"}}, 503, 500, "ValueError: this row is bad"),
    "an answer that is no JSON": ("custom", {"json": {"command": "object"}}, 503, 500, "not JSON"),
    "a PredictionException": ("custom", {"json": {"command": "refuse"}}, 409, 409, "no such row"),
    "what is no picture": ("pictures", {"content": b"none"}, 503, 500, "cannot identify image file"),
    "broken JSON": ("custom", typed("application/json", b"{"), 200, 400, "not JSON"),
    "broken text": ("custom", typed("text/plain", b"\xff\xfe"), 200, 400, "UTF-8"),
}


@pytest.mark.parametrize("name", FAILED)
def test_an_error_says_what_was_wrong_where_torchserves_does_not(ours, theirs, name):
    archive, request, their_status, our_status, said = FAILED[name]
    mine, other = ask_ours(ours, archive, **request), ask_theirs(theirs, archive, **request)
    assert (other.status_code, mine.status_code) == (their_status, our_status)
    assert said in mine.json()["error"]["message"]


def test_a_number_that_is_not_finite_is_no_json_there_and_null_here(ours, theirs):
    request = {"json": {"command": "nan"}}
    assert b"NaN" in ask_theirs(theirs, "custom", **request).content
    assert ask_ours(ours, "custom", **request).json() == [None, 1.5, None]


def test_a_picture_is_classified_by_torchserves_own_handler(ours):
    scores = ask_ours(ours, "pictures", content=PNG).json()
    assert len(scores) == 5
    assert set(scores) < set(ANIMALS)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert ours["pictures"].events("ready")[0]["warmup"] == "one small picture"


def test_pictures_come_by_the_instances_contract_too(ours):
    encoded = {"b64": base64.b64encode(PNG).decode()}
    with ours["pictures"].client() as client:
        (answer,) = client.post("/predict", json={"instances": [encoded]}).json()["predictions"]
    assert answer == ask_ours(ours, "pictures", content=PNG).json()


def test_what_a_handler_counts_is_in_our_metrics(ours):
    before = counted(ours)
    ask_ours(ours, "numbers", json={"numbers": [1, 2]})
    assert counted(ours) == before + 1
    with ours["numbers"].client() as client:
        assert "\nhalf 0.5\n" in client.get("/metrics").text


def counted(ours):
    with ours["numbers"].client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("rows_seen_total"))


def test_what_a_configuration_asks_without_effect_is_said(ours):
    (said,) = ours["function"].events("config_without_effect")
    assert said["keys"] == ["minWorkers", "maxWorkers"]
