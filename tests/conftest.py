"""Real artifacts, built once by the real exporters in processes of their own and kept between runs."""

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.domain.uploads import HANDLER

HERE = Path(__file__).parent
# Frameworks and moto hold millions of objects for ever: to look through them every few thousand new ones is a tenth of
# the time.
gc.set_threshold(50_000, 20, 50)
# What a shell runs in the background ignores Ctrl-C, and so would every program that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)
SCRIPTED = """\
import sys
import torch
torch.jit.script(torch.nn.Linear(4, 2)).save(sys.argv[1])
"""


def _kept(request, name, recipe, build):
    """Return the folder that `build` fills, kept between runs; whoever of parallel runs is first, wins."""
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    home = request.config.cache.mkdir("artifacts")
    place = home / f"{name}-{key}"
    if not place.exists():
        building = home / f"{name}-{key}-{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        build(building)
        with suppress(OSError):
            building.rename(place)
    return place


def _exported(request, name, script):
    """Return the folder that a script of TensorFlow's fills."""

    def build(folder):
        env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([sys.executable, script, folder], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]

    return _kept(request, name, script.read_text() + version("tensorflow"), build)


@pytest.fixture(scope="session")
def saved_models(request):
    """A folder of SavedModels by the names that export_models.py gives them."""
    return _exported(request, "saved_models", HERE / "export_models.py")


@pytest.fixture(scope="session")
def signatures_model(request):
    """One SavedModel with the signatures of export_signatures.py."""
    return _exported(request, "signatures", HERE / "export_signatures.py")


@pytest.fixture(scope="session")
def archives(request):
    """A folder of archives by torch-model-archiver: each a folder with a model.mar."""

    def build(folder):
        (folder / "h.py").write_bytes(HANDLER)
        (folder / "net.py").write_text("class Net:\n    pass\n")
        (folder / "config.yaml").write_text("minWorkers: 1\n")
        (folder / "need.txt").write_text("numpy\n")
        subprocess.run([sys.executable, "-c", SCRIPTED, folder / "weights.pt"], check=True, capture_output=True)
        weights = ["--serialized-file", "weights.pt"]
        _archive(folder, "custom", "--handler", "h.py")
        _archive(folder, "bare_name", "--handler", "h")
        _archive(folder, "function", "--handler", "h:handle")
        _archive(folder, "own", "--handler", "base_handler", *weights)
        _archive(folder, "scripted", "--handler", "image_classifier", *weights)
        _archive(folder, "stored", "--handler", "h.py", *weights, "--archive-format", "zip-store")
        _archive(
            folder,
            "full",
            *("--handler", "h.py", *weights, "--model-file", "net.py"),
            *("--config-file", "config.yaml", "--requirements-file", "need.txt", "--extra-files", "config.yaml"),
        )

    recipe = Path(__file__).read_text() + HANDLER.decode() + version("torch") + version("torch-model-archiver")
    return _kept(request, "archives", recipe, build)


def _archive(folder, name, *options):
    """The archiver wipes TMPDIR/<model name>, so each build has a TMPDIR of its own."""
    out, scratch = folder / name, folder / f"{name}-tmp"
    out.mkdir()
    scratch.mkdir()
    program = Path(sys.executable).with_name("torch-model-archiver")
    arguments = ["--model-name", "model", "--version", "1", "--export-path", out, *options]
    env = os.environ | {"TMPDIR": str(scratch)}
    done = subprocess.run([program, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
