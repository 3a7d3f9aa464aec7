"""The corpus's real half: SavedModels and weights of every form, and archives of these, built once and kept."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import _kept
from tests.validation.corpus import Built

HERE = Path(__file__).parent
LOADED = ("state.pt", "legacy.pt", "checkpoint.pt", "scripted.pt", "traced.pt", "exported.pt2", "arrays.npz")
HANDLER = HERE / "weights_handler.py"


@pytest.fixture(scope="session")
def weights(request):
    """A folder of weights, and in `archives/NAME/` a model.mar of each that a handler can load."""
    script = HERE / "export_weights.py"

    def build(folder):
        _run(script, folder)
        for name in LOADED:
            _archive(folder, name)

    recipe = script.read_text() + HANDLER.read_text() + Path(__file__).read_text() + version("torch")
    return _kept(request, "weights", recipe + version("torch-model-archiver"), build)


def _archive(folder, name):
    out, scratch = folder / "archives" / name, folder / f"{name}-tmp"
    out.mkdir(parents=True)
    scratch.mkdir()
    program = Path(sys.executable).with_name("torch-model-archiver")
    arguments = ["--model-name", "model", "--version", "1", "--export-path", out, "--handler", HANDLER]
    env = os.environ | {"TMPDIR": str(scratch)}
    named = [program, *arguments, "--serialized-file", folder / name]
    done = subprocess.run(named, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def exports(request):
    """A folder of SavedModels of many kinds of operations, by the names that export_saved_models.py gives them."""
    script = HERE / "export_saved_models.py"
    recipe = script.read_text() + version("tensorflow") + version("keras")
    return _kept(request, "exports", recipe, lambda folder: _run(script, folder))


def _run(script, folder):
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, script, folder], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def built(saved_models, exports, archives, weights):
    return Built(saved_models, exports, archives, weights)
