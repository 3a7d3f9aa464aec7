"""Each set of walls keeps what it promises, and what is missing is said."""

import json
import os
import shutil
import socket
import sys

import pytest

from chalicelib.local.fleet import host, sandbox
from chalicelib.local.fleet.process import Process
from chalicelib.local.fleet.sandbox import FULL, NONE, Walls, candidates, missing

IS_ROOT = os.geteuid() == 0

LOOK = """
import json, os, socket, sys
def works(what):
    try:
        return bool(what())
    except OSError:
        return False
secret, platform, port = sys.argv[1:]
print(json.dumps({
    "files": not works(lambda: open(secret).read()),
    "processes": str(platform) not in os.listdir("/proc"),
    "network": not works(lambda: socket.create_connection(("127.0.0.1", int(port)), 5)),
    "own_uid": os.getuid() != int(os.environ["PLATFORM_UID"]),
    "environ": works(lambda: open("/proc/" + platform + "/environ").read()),
}))
"""


@pytest.fixture
def runtime():
    folder = host.make_runtime_folder()
    yield folder
    shutil.rmtree(folder)


def name(walls: Walls) -> str:
    return "+".join(wall for wall, stands in vars(walls).items() if stands) or "none"


@pytest.mark.parametrize("walls", candidates(is_root=IS_ROOT), ids=name)
def test_a_set_of_walls_that_stands_keeps_what_it_promises(walls, runtime, tmp_path):
    here = host.this_host(tmp_path / "server")
    models = tmp_path / "models"
    if not host.stands(walls, here, runtime, models):
        pytest.skip("this host can't put them up")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        host.open_cell(runtime, walls, models) as cell,
    ):
        arguments = [str(secret), str(os.getpid()), str(listener.getsockname()[1])]
        process = Process.start(
            walls,
            cell,
            here,
            command=[sys.executable, "-c", LOOK, *arguments],
            environment={"TMPDIR": str(sandbox.scratch_of(walls, cell)), "PLATFORM_UID": str(os.geteuid())},
            memory_mb=64,
        )
        code, output = process.output()
    assert code == 0, output
    seen = json.loads(output)
    promised = {wall for wall in ("files", "processes", "network", "own_uid") if getattr(walls, wall)}
    assert {wall for wall in promised if not seen[wall]} == set()
    assert walls == NONE or not seen["environ"]


@pytest.mark.parametrize("walls", candidates(is_root=True), ids=name)
def test_every_wall_that_is_missing_is_said_in_a_sentence(walls):
    sentences = missing(walls)
    lacking = [w for w in ("files", "processes", "network", "own_uid") if not getattr(walls, w)]
    exposed = not (walls.files or walls.own_uid)
    assert len(sentences) == len(lacking) + exposed
    assert any("store's credentials" in sentence for sentence in sentences) == exposed


def test_the_strongest_walls_are_tried_first_and_none_last():
    assert candidates(is_root=True)[0] == FULL
    assert candidates(is_root=True)[-1] == candidates(is_root=False)[-1] == NONE
    assert not any(walls.own_uid for walls in candidates(is_root=False))
