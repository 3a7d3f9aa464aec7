"""What follows from what replicas did, as plain values."""

import pytest

from chalicelib.domain.deployment import FleetState, Running
from chalicelib.local.fleet.ping import SILENCE, Answer, read_answer
from chalicelib.local.fleet.supervision import GiveUp, Replica, Restart, after_end, how_it_ended, running

READY = Replica(ready=True, was_ready=True, digest="sha256:a")
NEW = Replica()


@pytest.mark.parametrize(
    ("replicas", "seen"),
    [
        ([NEW], Running(FleetState.STARTING)),
        ([READY, NEW], Running(FleetState.STARTING, ready=1, digest="sha256:a")),
        ([READY, READY], Running(FleetState.READY, ready=2, digest="sha256:a")),
        (
            [READY, Replica(was_ready=True, restarts=2, reason="exited with status 1")],
            Running(FleetState.READY, ready=1, digest="sha256:a", restarts=2, reason="exited with status 1"),
        ),
        (
            [Replica(was_ready=True, reason="killed by SIGKILL")],
            Running(FleetState.STARTING, reason="killed by SIGKILL"),
        ),
        ([READY, Replica(failed=True, reason="no weights")], Running(FleetState.FAILED, reason="no weights")),
        (
            [READY, Replica(ready=True, was_ready=True, digest="sha256:b")],
            Running(FleetState.READY, ready=2, reason="replicas answer different digests: sha256:a, sha256:b"),
        ),
    ],
)
def test_what_a_deployment_is_follows_from_its_replicas(replicas, seen):
    assert running(replicas) == seen


@pytest.mark.parametrize(
    ("replica", "next_step"),
    [
        (Replica(reason="no weights", ends=1), GiveUp("no weights")),
        (Replica(was_ready=True, ends=1), Restart(0.2)),
        (Replica(was_ready=True, ends=4), Restart(1.6)),
        (
            Replica(was_ready=True, ends=5, reason="exited with status 1"),
            GiveUp("ended 5 times in a row; the last time: exited with status 1"),
        ),
    ],
)
def test_a_first_start_is_never_repeated_and_later_ones_are_until_they_loop(replica, next_step):
    assert after_end(replica) == next_step


@pytest.mark.parametrize(
    ("code", "log", "reason"),
    [
        (1, [], "exited with status 1; it logged nothing"),
        (-9, ["a", "", "b"], "killed by SIGKILL; the last lines of its log: a | b"),
        (139, [], "killed by SIGSEGV; it logged nothing"),
        (255, [], "exited with status 255; it logged nothing"),
        (3, ['{"event": "load_failed", "error": "ValueError: x", "where": ""}', "bye"], "ValueError: x"),
        (3, ['{"event": "lo', "[1]"], 'exited with status 3; the last lines of its log: {"event": "lo | [1]'),
        (125, ['{"event": "jail_failed", "error": "the sandbox: no"}'], "the sandbox: no"),
    ],
)
def test_the_models_own_error_comes_before_how_its_process_ended(code, log, reason):
    assert how_it_ended(code, log) == reason


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (f'HTTP/1.1 200 OK\r\n\r\n{{"digest": "{DIGEST}"}}', Answer(ready=True, digest=DIGEST)),
        (f'HTTP/1.1 503 No\r\n\r\n{{"digest": "{DIGEST}"}}', SILENCE),
        ("HTTP/1.1 200 OK\r\n\r\n", SILENCE),
        ('HTTP/1.1 200 OK\r\n\r\n{"digest": "latest"}', SILENCE),
        ('HTTP/1.1 200 OK\r\n\r\n{"digest": 7}', SILENCE),
        ("HTTP/1.1 200 OK\r\n\r\n[]", SILENCE),
        ("\x00\xff", SILENCE),
        ("", SILENCE),
    ],
)
def test_only_a_replica_that_says_what_it_loaded_is_ready(said, answer):
    assert read_answer(said.encode()) == answer
