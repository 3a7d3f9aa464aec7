"""A stranger's model that looks for what isn't its own finds nothing: real processes, through the fleet."""

import json
import os
import socket
from pathlib import Path

import pytest

from chalicelib.domain.deployment import FleetState
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.fleet_support import COMMAND, stored, until_state, write_server

SECRET = "AKIA-the-stores-own-secret"

# What a handler that means ill would try. It prints one line of JSON: what it found.
SPY = """
import glob, subprocess
def attempt(what):
    try:
        return what()
    except Exception as error:
        return "refused: " + type(error).__name__
def connect(family, address):
    with socket.socket(family) as s:
        s.settimeout(5)
        s.connect(address)
        return "connected"
import socket
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path("/dev/shm/left-behind").write_text("x")
print(json.dumps({{
    "environ": dict(os.environ),
    "files": {{path: attempt(lambda: open(path).read()) for path in {paths!r}}},
    "environs": [attempt(lambda: open(path).read()) for path in glob.glob("/proc/[0-9]*/environ")],
    "command_lines": [attempt(lambda: open(path).read()) for path in glob.glob("/proc/[0-9]*/cmdline")],
    "tcp": attempt(lambda: connect(socket.AF_INET, ("127.0.0.1", {port}))),
    "abstract": attempt(lambda: connect(socket.AF_UNIX, {abstract!r})),
    "root": sorted(os.listdir("/")),
    "home": attempt(lambda: sorted(os.listdir({home!r}))),
    "write": [attempt(lambda: open(path, "w").close()) for path in
              ("/x", "/usr/x", "/etc/x", os.environ["MODEL_DIR"] + "/x", os.environ["MODEL_DIR"] + "/act.py",
               os.environ["PYTHONPATH"] + "/x", sys.prefix + "/x")],
    "chmod": attempt(lambda: os.chmod(os.environ["MODEL_DIR"], 0o777)),
    "status": dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines()),
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "stdin": sys.stdin.read(),
    "user": os.getuid(),
}}), flush=True)
"""


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home").make()
    for path in (home.registry, home.credentials, home.aws_profile, home.connection):
        path.write_text(SECRET)
    return home


@pytest.fixture
def found(home, tmp_path, monkeypatch):
    """What the spy found, with a live listener on loopback and secrets in our files and environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store = FakeBucket()
    abstract = f"\0modeldrop-test-{os.getpid()}"
    paths = [str(p) for p in (home.registry, home.credentials, home.aws_profile, home.connection, "/etc/shadow")]
    paths += [f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/root{home.credentials}", str(home.models / "b")]
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        LocalFleet(store, home, server=COMMAND, server_path=write_server(tmp_path)) as fleet,
    ):
        unix.bind(abstract)
        unix.listen()
        spy = SPY.format(paths=paths, port=tcp.getsockname()[1], abstract=abstract, home=str(home.root))
        fleet.ensure(beside := stored(store, name="b", environment={"SHARED": SECRET}))
        until_state(fleet, beside, FleetState.READY)
        fleet.ensure(deployment := stored(store, spy, name="spy", environment={"WISH": "granted"}))
        until_state(fleet, deployment, FleetState.READY)
        if fleet.isolation.report and os.geteuid() == 0:
            pytest.skip(" ".join(fleet.isolation.report))
        yield json.loads((home.logs / "spy-1.log").read_text().splitlines()[0])


def test_a_handler_that_looks_for_secrets_finds_nothing(found, home, tmp_path):
    assert SECRET not in json.dumps(found)
    assert all(text.startswith("refused") for text in found["files"].values()), found["files"]
    assert found["home"] == ["models"]
    assert not any(str(tmp_path / "x") in line or "pytest" in line for line in found["command_lines"])


def test_its_environment_is_built_and_holds_what_was_wished_for(found):
    assert found["environ"]["WISH"] == "granted"
    assert not [name for name in found["environ"] if name.startswith(("AWS_", "PYTEST"))]
    assert found["environ"]["TMPDIR"] == "/tmp"


def test_it_reaches_no_network(found):
    assert found["tcp"].startswith("refused")
    assert found["abstract"].startswith("refused")


def test_it_writes_nowhere_but_in_its_own_temporary_folder(found):
    assert all(tried.startswith("refused") for tried in found["write"]), found["write"]
    assert found["chmod"].startswith("refused")


def test_it_holds_no_rights_and_no_files_of_ours(found):
    assert int(found["status"]["CapEff"], 16) == int(found["status"]["CapBnd"], 16) == 0
    assert found["status"]["NoNewPrivs"].strip() == "1"
    assert found["descriptors"][:3] == ["0", "1", "2"]
    assert len(found["descriptors"]) <= 4  # and the one that lists them
    assert found["stdin"] == ""
    assert found["user"] != 0


def test_nothing_of_it_is_left_on_the_host(home, tmp_path):
    def host():
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        mounts = {line.split()[4] for line in lines if "/containers/" not in line}  # other tests' own
        return mounts, Path("/dev/shm/left-behind").exists()

    before = host()
    store = FakeBucket()
    with LocalFleet(store, home, server=COMMAND, server_path=write_server(tmp_path)) as fleet:
        act = "pathlib.Path('/dev/shm/left-behind').write_text('x')"
        fleet.ensure(deployment := stored(store, act))
        until_state(fleet, deployment, FleetState.READY)
        runtime = fleet.sockets("d")[0].parent.parent.parent
        assert host() == before
    assert host() == before
    assert not runtime.exists()
