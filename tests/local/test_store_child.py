"""A store's process ends with us, however we end, and says why it ended otherwise."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chalicelib.domain.errors import Rejected
from chalicelib.local import die_with_parent
from chalicelib.local.stores.child import Child, free_port, is_free, listens, plain_environment
from tests.stores import eventually, receiver

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]
READY = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)"
STUBBORN = [sys.executable, "-c", READY + "\nwhile True: signal.pause()"]
PARENT = """
import subprocess, sys
from chalicelib.local import die_with_parent
child = subprocess.Popen(die_with_parent.command([sys.executable, "-c", "import signal; signal.pause()"]))
print(child.pid, flush=True)
sys.stdin.read()
"""


def spawn(tmp_path, argv, **more):
    return Child.spawn("the child", argv, env=plain_environment(), log=tmp_path / "logs" / "child.log", **more)


def is_ready(child) -> bool:
    return "ready" in child.log.read_text()


def ended(pid) -> bool:
    """Tell whether a process has ended; a zombie that nobody has asked for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_child_ends_when_its_parent_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        assert not ended(pid)
        parent.kill()
    assert eventually(lambda: ended(pid), seconds=5)


def test_a_child_ends_with_the_thread_that_started_it(tmp_path):
    children: list[Child] = []

    def start() -> None:
        child = spawn(tmp_path, STUBBORN)
        child.wait_until(lambda: is_ready(child), seconds=30)
        children.append(child)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert children[0].process.wait(30) == -9


def test_a_child_whose_parent_has_ended_already_is_not_started(tmp_path):
    marker = tmp_path / "started"
    command = die_with_parent.command(["touch", str(marker)])
    command[command.index(str(os.getpid()))] = "1"  # as if we had been another's child
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode != 0
    assert "has ended" in told.stderr
    assert not marker.exists()


@pytest.mark.parametrize("arguments", [[], ["7"], ["7", "--"], ["seven", "--", "true"], ["7", "true"]])
def test_the_launcher_says_how_it_is_called(arguments):
    launcher = die_with_parent.command([])[:4]
    told = subprocess.run([*launcher, *arguments], check=False, capture_output=True, text=True)
    assert told.returncode != 0
    assert "usage" in told.stderr


def test_a_child_runs_the_very_command_with_only_the_environment_it_was_given(tmp_path):
    child = Child.spawn("env", ["env"], env={"ONLY": "this one"}, log=tmp_path / "log")
    assert child.process.wait(30) == 0
    # The launcher's Python may add LC_CTYPE, where no locale is set.
    assert [line for line in child.log.read_text().splitlines() if "LC_CTYPE" not in line] == ["ONLY=this one"]


def test_no_credential_is_in_the_environment_that_children_get(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    assert "s3cret" not in plain_environment(X="1").values()
    assert plain_environment(X="1")["X"] == "1"


def test_a_child_that_ends_early_is_told_with_the_end_of_its_log(tmp_path):
    child = spawn(tmp_path, ["sh", "-c", "echo 'drive not found' >&2; exit 3"])
    with pytest.raises(Rejected, match=r"(?s)the child ended with status 3.*drive not found"):
        child.wait_until(lambda: False, seconds=30)


def test_a_child_that_never_answers_is_told(tmp_path):
    child = spawn(tmp_path, FOREVER)
    with pytest.raises(Rejected, match="does not answer"):
        child.wait_until(lambda: False, seconds=0.1)
    child.stop()
    assert child.process.returncode is not None


def test_a_child_that_does_not_end_when_asked_is_ended(tmp_path):
    child = spawn(tmp_path, STUBBORN)
    child.wait_until(lambda: is_ready(child), seconds=30)
    child.stop(grace=0.1)
    assert child.process.returncode == -9


def test_a_free_port_is_one_where_nobody_listens():
    class Anybody:
        check_token = receive = None

    port = free_port()
    assert is_free(port)
    assert not listens(port)
    with receiver(Anybody(), port):
        assert not is_free(port)
        assert listens(port)
    assert is_free(port)
