"""The fleet runs the real serving program, behind its walls."""

import io
import json
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from chalicelib.domain.deployment import FleetState
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.fleet_support import stored_files, until, until_state

SERVER_PATH = Path(__file__).parents[2] / "serving_image"
HANDLER = """
import {framework}
class Doubler:
    def initialize(self, context):
        {initialize}
    def handle(self, rows, context):
        return [2 * (row.get("data") or row.get("body")) for row in rows]
"""


def archive(framework: str = "math", initialize: str = "pass") -> bytes:
    """Return a .mar as torch-model-archiver lays it out."""
    manifest = {
        "createdOn": "01/01/2026 00:00:00",
        "runtime": "python",
        "model": {"modelName": "digits", "handler": "handler.py", "modelVersion": "1.0"},
        "archiverVersion": "0.12.0",
    }
    mar = io.BytesIO()
    with zipfile.ZipFile(mar, "w") as zipped:
        zipped.writestr("handler.py", HANDLER.format(framework=framework, initialize=initialize))
        zipped.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    return mar.getvalue()


@pytest.fixture
def store():
    return FakeBucket()


@pytest.fixture
def fleet(store, tmp_path):
    server = (sys.executable, "-m", "modelserver")
    with LocalFleet(store, Home(tmp_path / "home"), server=server, server_path=SERVER_PATH) as fleet:
        yield fleet


@pytest.mark.alone
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_model_serves_behind_walls_and_proves_the_registered_bytes(fleet, store, framework):
    wishes = {"start_timeout_s": 120.0, "memory_mb": 4000}
    fleet.ensure(deployment := stored_files(store, {"model.mar": archive(framework)}, **wishes))
    until(lambda: fleet.observe("d").state is not FleetState.STARTING, "an end of the start", patience=130.0)
    seen = until_state(fleet, deployment, FleetState.READY)
    assert seen.digest == deployment.digest
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(fleet.sockets("d")[0])), base_url="http://replica"
    ) as client:
        answer = client.post("/v1/models/digits:predict", json={"instances": [{"data": 21}]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [42]})


def test_a_model_that_cannot_load_says_its_own_error(fleet, store):
    broken = archive(initialize="raise ValueError('9 weights, 10 needed')")
    fleet.ensure(stored_files(store, {"model.mar": broken}, start_timeout_s=120.0, memory_mb=4000))
    until(lambda: fleet.observe("d").state is FleetState.FAILED, patience=130.0)
    assert "ValueError: 9 weights, 10 needed" in fleet.observe("d").reason
    assert "exited" not in fleet.observe("d").reason


def test_a_stopped_model_drains_and_is_gone(fleet, store):
    fleet.ensure(deployment := stored_files(store, {"model.mar": archive()}, start_timeout_s=120.0, memory_mb=4000))
    until_state(fleet, deployment, FleetState.READY)
    fleet.stop("d")
    until_state(fleet, deployment, FleetState.ABSENT)
    assert any('"draining"' in line for line in fleet.logs("d"))
