"""What is left when the platform is killed, and what the next one makes of it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.fleet_support import COMMAND, replicas_of, until, write_server

PLATFORM = """
import sys
from pathlib import Path
from chalicelib.domain.deployment import FleetState
from chalicelib.local.fleet.fleet import LocalFleet
from chalicelib.local.home import Home
from tests.fakes import FakeBucket
from tests.local.fleet_support import COMMAND, stored, until_state

# Grandchildren that leave the session are the hard ones.
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
ACT = f"import subprocess; subprocess.Popen({SLEEP!r}, start_new_session=True)"
home, server = map(Path, sys.argv[1:])
store = FakeBucket()
fleet = LocalFleet(store, Home(home), server=COMMAND, server_path=server)
ready, loading = stored(store, ACT, name="ready", replicas=2), stored(store, "signal.pause()", name="loading")
fleet.ensure(ready)
fleet.ensure(loading)
until_state(fleet, ready, FleetState.READY)
print(fleet.sockets("ready")[0], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def killed(tmp_path):
    """A platform that was killed while it ran replicas: its home, and where one of its sockets was."""
    home = tmp_path / "home"
    command = [sys.executable, "-c", PLATFORM, str(home), str(write_server(tmp_path))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as platform:
        socket = platform.stdout.readline().strip()
        until(lambda: len(replicas_of(home)) == 5, "two replicas, a child of each, and one that is loading")
        started = psutil.Process(platform.pid).children(recursive=True)
        platform.send_signal(signal.SIGKILL)
        platform.wait()
        yield Home(home), Path(socket), started


def test_no_replica_outlives_a_killed_platform(killed):
    _, _, started = killed
    until(lambda: not any(process.is_running() for process in started), "all of them to end", patience=5.0)


def test_the_next_platform_clears_away_what_the_killed_one_left(killed, tmp_path):
    home, socket, _ = killed
    assert socket.exists()
    with LocalFleet(FakeBucket(), home, server=COMMAND, server_path=tmp_path / "server") as fleet:
        assert fleet.deployments() == []
        assert not socket.parent.parent.parent.exists()
        assert list(home.models.iterdir()) == []
