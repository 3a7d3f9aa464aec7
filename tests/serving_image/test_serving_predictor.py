"""score.py and predictor classes over HTTP, in the real program."""

import hashlib
import json

import pytest

pytestmark = pytest.mark.slow

ADS = """\
import json, os, sys

HERE = os.path.dirname(os.path.realpath(__file__))


def load_model(model_file_name="weights.json", model_dir=HERE):
    print("loading", file=sys.stderr)
    with open(os.path.join(model_dir, model_file_name)) as file:
        return json.load(file)


def predict(data, model=load_model(), scale=1):
    if isinstance(data, dict) and data.get("raise"):
        raise ValueError("this document is bad")
    rows = data["rows"] if isinstance(data, dict) else data
    return {"prediction": [model["factor"] * sum(row) * scale for row in rows]}
"""
BARE = """\
import helper, numpy as np

calls = []

def load_model():
    calls.append("load")
    return helper.Model()

def predict(data, model=None):
    if data == "calls":
        return calls
    if isinstance(data, (bytes, bytearray)):
        return {"bytes": len(data)}
    if data == [["short"]]:
        return []
    if data == [["none"]]:
        return None
    if data == [["nan"]]:
        return np.array([np.nan])
    return np.array([model.sum(row) for row in data]) if isinstance(data, list) else {"got": data}
"""
VERTEX = """\
import numpy as np

class Helper:
    def predict(self): ...

class Predictor:
    def load(self, artifacts_uri):
        self.weights = np.loadtxt(artifacts_uri + "/weights.txt")

    def preprocess(self, prediction_input):
        self.parameters = prediction_input.get("parameters")
        return np.asarray(prediction_input["instances"])

    def predict(self, instances):
        return instances @ self.weights

    def postprocess(self, prediction_results):
        return {"predictions": prediction_results.tolist(), "parameters": self.parameters}

Alias = Predictor
"""
PLAIN = """\
class P:
    def load(self, artifacts_uri): self.n = 0
    def predict(self, document):
        self.n += 1
        if document["instances"] == ["raise"]:
            raise KeyError("gone")
        return [[self.n, x] for x in document["instances"]]
"""


def folder(place, **files):
    place.mkdir()
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)
    return place


@pytest.fixture
def ads(run, tmp_path):
    return run(folder(tmp_path / "v", score__py=ADS, weights__json='{"factor": 2}')).until_ready()


@pytest.fixture
def bare(run, tmp_path):
    helper = "class Model:\n    def sum(self, row): return sum(row)\n"
    return run(folder(tmp_path / "v", score__py=BARE, helper__py=helper)).until_ready()


@pytest.fixture
def vertex(run, tmp_path):
    return run(folder(tmp_path / "v", predictor__py=VERTEX, weights__txt="1 10 100")).until_ready()


def post(replica, path, document=None, **given):
    with replica.client() as client:
        return client.post(path, json=document, **given) if not given else client.post(path, **given)


def test_a_score_file_gets_any_document_and_its_answer_is_the_response(ads):
    for path in ("/predict", "/invocations", "/predictions/model"):
        answer = post(ads, path, {"rows": [[1, 2], [3, 4]]})
        assert (answer.status_code, answer.json()) == (200, {"prediction": [6, 14]})


def test_a_score_file_answers_the_instances_contracts_with_one_prediction_each(ads):
    for path in ("/predict", "/v1/models/model:predict"):
        answer = post(ads, path, {"instances": [[1, 2], [3, 4]]})
        assert (answer.status_code, answer.json()) == (200, {"predictions": [6, 14]})


def test_a_model_that_predict_has_as_a_default_is_loaded_once(ads):
    assert [line["line"] for line in ads.events("raw")] == ["loading"]
    assert ads.events("ready")[0]["format"] == "python_predictor"


def test_what_a_score_file_raises_is_the_answer(ads):
    answer = post(ads, "/predict", {"raise": True})
    assert answer.status_code == 500
    assert answer.json()["error"] == {"code": "model_error", "message": "ValueError: this document is bad"}


def test_a_model_that_predict_takes_without_one_is_loaded_and_given_once(bare):
    assert post(bare, "/predict", {"instances": [[1, 2], [3, 4]]}).json() == {"predictions": [3, 7]}
    assert post(bare, "/predict", "calls").json() == ["load"]


def test_what_is_not_json_reaches_a_score_file_by_its_type(bare):
    assert post(bare, "/predict", content=b"\0\1", headers={"content-type": "image/png"}).json() == {"bytes": 2}
    assert post(bare, "/predict", content=b"hi", headers={"content-type": "text/plain"}).json() == {"got": "hi"}
    form = post(bare, "/predict", data={"a": "1"})
    assert form.json() == {"got": {"a": "1"}}
    broken = post(bare, "/predict", content=b"{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(("row", "said"), [("short", "0 items for 1 instances"), ("none", "returned NoneType")])
def test_an_answer_that_is_not_one_prediction_an_instance_is_the_models_mistake(bare, row, said):
    answer = post(bare, "/predict", {"instances": [[row]]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "bad_predictor_answer")
    assert said in answer.json()["error"]["message"]


def test_a_number_that_is_not_finite_is_counted(bare):
    answer = post(bare, "/predict", {"instances": [["nan"]]})
    assert (answer.json(), answer.headers["X-Modeldrop-Nonfinite"]) == ({"predictions": [None]}, "1")


def test_loading_leaves_nothing_in_the_folder_so_the_digest_is_of_what_was_registered(bare, tmp_path):
    version = tmp_path / "v"
    assert sorted(p.name for p in version.rglob("*")) == ["helper.py", "score.py"]
    lines = b""
    for name in ("helper.py", "score.py"):
        body = (version / name).read_bytes()
        lines += b"%b\0%d\0%b\n" % (name.encode(), len(body), hashlib.sha256(body).hexdigest().encode())
    answer = post(bare, "/predict", {"instances": [[1]]})
    assert answer.headers["X-Modeldrop-Digest"] == "sha256:" + hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v1/models/model:predict", "/predictions/model"])
def test_a_predictor_class_is_called_as_vertex_calls_it_on_every_route(vertex, path):
    answer = post(vertex, path, {"instances": [[1, 2, 3], [0, 0, 1]], "parameters": {"k": 1}})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [321.0, 100.0]})


def test_a_predictor_class_needs_instances(vertex):
    answer = post(vertex, "/predict", {"rows": []})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "missing_instances")
    columns = post(vertex, "/predict", {"inputs": [[1, 2, 3]]})
    assert (columns.status_code, columns.json()["error"]["code"]) == (400, "no_columns")


def test_without_preprocess_and_postprocess_a_class_gets_the_document_once_even_if_it_raises(run, tmp_path):
    replica = run(folder(tmp_path / "v", predictor__py=PLAIN)).until_ready()
    assert post(replica, "/predict", {"instances": ["a", "b"]}).json() == {"predictions": [[1, "a"], [1, "b"]]}
    assert post(replica, "/predict", {"instances": ["raise"]}).json()["error"]["message"] == "KeyError: 'gone'"
    assert post(replica, "/predict", {"instances": ["c"]}).json() == {"predictions": [[3, "c"]]}


def test_an_archive_beside_a_score_file_is_its_data(run, tmp_path):
    files = {"score__py": ADS, "weights__json": '{"factor": 5}', "other__mar": "no archive"}
    replica = run(folder(tmp_path / "v", **files)).until_ready()
    assert post(replica, "/predict", {"instances": [[1]]}).json() == {"predictions": [5]}


def test_what_golden_jsonl_expects_is_no_part_of_the_requests_that_warm_up(run, tmp_path):
    lines = [
        {"metric": {"name": "accuracy", "at_least": 1}},
        {"instance": [1], "expected": 2, "tolerance": 0.1},
        {"instances": [[1], [2]], "class": [2, 4]},
        {"request": {"rows": [[3]]}, "expected": {"prediction": [6]}},
    ]
    golden = "\n".join(map(json.dumps, lines))
    files = {"score__py": ADS, "weights__json": '{"factor": 2}', "golden__jsonl": golden}
    replica = run(folder(tmp_path / "v", **files)).until_ready()
    assert replica.events("ready")[0]["warmup"] == "3 requests of golden.jsonl"


def test_the_requests_of_warmup_jsonl_are_made_before_ready(run, tmp_path):
    requests = '[1, 2]\n{"request": {"rows": [[3]]}}\n'
    files = {"score__py": ADS, "weights__json": '{"factor": 2}', "warmup__jsonl": requests}
    replica = run(folder(tmp_path / "v", **files)).until_ready()
    assert replica.events("ready")[0]["warmup"] == "2 requests of warmup.jsonl"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"score__py": "import no_such_module\n"}, "No module named 'no_such_module'"),
        ({"score__py": "def load_model(): 1 / 0\ndef predict(data): ...\n"}, "division by zero"),
        ({"score__py": "from os import path as predict\nload_model = print\n"}, "score.py has no function predict"),
        ({"predictor__py": PLAIN + PLAIN.replace("class P", "class Q")}, "found: P, Q"),
        (
            {"predictor__py": "class P:\n def load(self, uri): raise SystemExit(0)\n def predict(self, x): ...\n"},
            "SystemExit",
        ),
        ({"score__py": ADS, "weights__json": "{}", "warmup__jsonl": "[1]\n"}, "factor"),
    ],
)
def test_code_that_cannot_be_loaded_ends_the_program_with_its_own_error(run, tmp_path, files, said):
    replica = run(folder(tmp_path / "v", **files))
    assert replica.until_exit() == 3
    (failed,) = replica.events("load_failed")
    assert said in failed["error"]
