"""What the rules accept, the real serving program loads, and it answers a request made from the report's schema."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.domain.findings import Verdict
from tests.serving_world import running
from tests.validation import corpus_archives, corpus_python, corpus_saved_models
from tests.validation.corpus import judged

pytestmark = pytest.mark.slow
ROWS = {"string": "", "bool": True}  # an empty text is also base64, and an empty protobuf
EXPORTS = [n for n in corpus_saved_models.CASES if n.startswith("the export ") and n != "the export sharded"]
SERVED = ["the export keras", "the export vocabulary", "the export tf1", "the export two_shards"]  # each takes seconds
# One needs an image, and Torch by itself loads the others' weights elsewhere.
LEFT = {"the archive scripted", *(f"the archive of {n}" for n in ("scripted.pt", "checkpoint.pt", "arrays.npz"))}
ARCHIVES = [n for n in corpus_archives.GOOD if n not in LEFT]


def row_of(tensor):
    """Return one row of a tensor of the schema: the first dimension is the batch's, unknown ones are 1."""
    value = ROWS.get(tensor["dtype"], 1)
    for size in reversed((tensor["shape"] or [None])[1:]):
        value = [value] * (size or 1)
    return value


def served(files, folder, request):
    """Start the program on files, and return its answer's status and body."""
    write(files, folder / "model")
    with running(folder / "model", folder / "scratch") as replica, replica.until_ready().client() as client:
        answer = client.post("/predict", json={"instances": [request]})
        return answer.status_code, answer.json()


def row_for(report):
    return {name: row_of(tensor) for name, tensor in report.schema["inputs"].items()}


def write(files, folder):
    for path, body in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)


@pytest.mark.parametrize("name", SERVED)
def test_an_export_that_is_accepted_is_served(name, built, tmp_path):
    case = corpus_saved_models.CASES[name]
    status, body = served(case.of(built), tmp_path, row_for(judged(case, built)))
    assert (status, len(body["predictions"])) == (200, 1), body


def test_every_export_that_is_accepted_loads_in_tensorflow_and_predicts_by_its_schema(built, tmp_path):
    asked = {}
    for name in EXPORTS:
        case = corpus_saved_models.CASES[name]
        report = judged(case, built)
        assert report.verdict is Verdict.ACCEPT, report
        write(case.of(built), tmp_path / name)
        asked[str(tmp_path / name)] = {"row": row_for(report), "outputs": sorted(report.schema["outputs"])}
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("load_saved_models.py")],
        input=json.dumps(asked),
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == {path: how["outputs"] for path, how in asked.items()}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_is_accepted_predicts(name, built, tmp_path):
    case = corpus_archives.CASES[name]
    assert judged(case, built).verdict is Verdict.ACCEPT
    status, body = served(case.of(built), tmp_path, {"data": 1})
    assert (status, len(body["predictions"])) == (200, 1), body


@pytest.mark.parametrize("name", ["a score.py with its environment", "a score.py alone", "a predictor.py"])
def test_python_that_is_accepted_predicts(name, tmp_path):
    case = corpus_python.CASES[name]
    assert judged(case).verdict is Verdict.ACCEPT
    status, body = served(case.of(None), tmp_path, {"data": 1})
    assert status == 200, body
