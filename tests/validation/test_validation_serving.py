"""What the rules accept, the real serving program loads, and it answers a request made from the report's schema."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.domain.findings import ArtifactFormat, Verdict
from tests.serving_world import PROGRAM, running
from tests.validation.cases import CASES
from tests.validation.corpus import judged

pytestmark = pytest.mark.slow
ROWS = {"string": "", "bool": True}  # an empty text is also base64, and an empty protobuf
ALONE = ("the export keras", "the archive custom", "the archive of state.pt", "a score.py alone", "a predictor.py")
GOOD = tuple(name for name, case in CASES.items() if case.verdict is Verdict.ACCEPT)
PRELOADED = {
    ArtifactFormat.SAVED_MODEL: "tensorflow",
    ArtifactFormat.TORCH_ARCHIVE: "torch",
    ArtifactFormat.PYTHON_PREDICTOR: "",
}
# Accepted, because reading doesn't show it, and refused when loaded: by what the program says of each.
REFUSED = {"the archive scripted": "mat1 and mat2 shapes cannot be multiplied"}  # four numbers wanted, a picture given


def row_of(tensor):
    """Return one row of a tensor of the schema: the first dimension is the batch's, unknown ones are 1."""
    value = ROWS.get(tensor["dtype"], 1)
    for size in reversed((tensor["shape"] or [None])[1:]):
        value = [value] * (size or 1)
    return value


def row_for(report):
    """Return an instance for a graph by its schema; what any other kind of model takes, nobody knows."""
    if report.schema is None:
        return {"data": [1, 1, 1, 1]}
    return {name: row_of(tensor) for name, tensor in report.schema["inputs"].items()}


def write(files, folder):
    """Write the files; a folder's marker in a store is none."""
    for path, body in files.items():
        if path.endswith("/"):
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    return folder


@pytest.mark.parametrize("name", ALONE)
def test_what_is_accepted_is_served(name, built, tmp_path):
    case = CASES[name]
    write(case.of(built), tmp_path / "model")
    with running(tmp_path / "model", tmp_path / "scratch") as replica, replica.until_ready().client() as client:
        answer = client.post("/predict", json={"instances": [row_for(judged(case, built))]})
        assert (answer.status_code, len(answer.json()["predictions"])) == (200, 1), answer.text


@pytest.mark.parametrize("kind", PRELOADED)
def test_all_that_is_accepted_is_served_or_says_when_loaded_why_not(kind, built, tmp_path):
    names, asked = {}, {}
    for number, name in enumerate(GOOD):
        report = judged(CASES[name], built)
        if report.format is kind:
            folder = str(write(CASES[name].of(built), tmp_path / str(number)))
            names[folder], asked[folder] = name, row_for(report)
    assert len(asked) > 10
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("serve_forked.py"), PRELOADED[kind]],
        input=json.dumps(asked),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROGRAM), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = {names[folder]: came for folder, came in json.loads(done.stdout).items()}
    for name in set(told) & set(REFUSED):
        assert REFUSED[name] in told[name].get("failed", ""), (name, told[name])
    served = {name: came for name, came in told.items() if name not in REFUSED}
    assert {name: came for name, came in served.items() if came.get("status") != 200} == {}
    assert {name: came for name, came in served.items() if len(came["body"]["predictions"]) != 1} == {}
