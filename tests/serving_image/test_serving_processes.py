"""Several processes on one port: who answers, what is counted, what happens when one dies, how all of them end."""

import os
import signal
import socket
import time

import httpx
import psutil
import pytest
from modelserver.batching import LEAST_PAUSE, SHORT_CALLS, Pace
from modelserver.settings import Settings, SettingsError
from modelserver.siblings import join

from tests.serving_world import running

pytestmark = pytest.mark.timeout(240)
INSTANCES = {"instances": [[1, 2, 3, 4]]}
ANSWERS = "modeldrop_requests_total"


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def pair(script_folder, tmp_path, port):
    """Two processes on a TCP port, both ready."""
    with running(script_folder, tmp_path, MODELDROP_UDS="", AIP_HTTP_PORT=str(port), MODELDROP_PROCESSES="2") as both:
        both.until(lambda: len(both.events("ready")) == 2, "two were ready")
        yield both


def ask(port, times=1):
    """Ask on as many connections, for the kernel chooses a process for each."""
    return [httpx.post(f"http://127.0.0.1:{port}/predict", json=INSTANCES, timeout=30) for _ in range(times)]


def counted(port):
    """The answers that each process counted, by its number."""
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    samples = [line for line in page.splitlines() if line.startswith(ANSWERS)]
    return {line.split('process="')[1][0]: float(line.rpartition(" ")[2]) for line in samples}


def children(replica):
    return psutil.Process(replica.process.pid).children()


def test_both_answer_and_whoever_is_asked_counts_for_both(pair, port):
    assert {answer.status_code for answer in ask(port, 40)} == {200}
    pages = [counted(port) for _ in range(6)]
    assert all(page == pages[0] for page in pages)
    assert set(pages[0]) == {"0", "1"}
    assert sum(pages[0].values()) == 40


def test_one_that_is_killed_is_replaced_while_the_other_answers(pair, port):
    killed, other = children(pair)
    killed.send_signal(signal.SIGKILL)
    psutil.wait_procs([killed], 10)
    assert {answer.status_code for answer in ask(port, 10)} == {200}
    pair.until(lambda: len(pair.events("ready")) == 3, "a third was ready")
    (ended,) = pair.events("process_ended")
    assert ended["status"] == -signal.SIGKILL
    after = {child.pid for child in children(pair)}
    assert other.pid in after
    assert len(after) == 2


def test_told_to_stop_it_answers_what_is_open_and_leaves_nothing(pair, port):
    family = children(pair)
    pair.process.send_signal(signal.SIGTERM)
    assert pair.until_exit() == 0
    assert len(pair.events("stopped")) == 2
    assert not psutil.wait_procs(family, 5)[1]
    with pytest.raises(httpx.ConnectError):
        ask(port)


def test_they_end_with_the_one_that_started_them(pair):
    family = children(pair)
    pair.process.kill()
    assert not psutil.wait_procs(family, 10)[1]


def test_a_model_that_cannot_be_loaded_ends_all_with_its_status(tmp_path, port):
    (tmp_path / "empty").mkdir()
    env = {"MODELDROP_UDS": "", "AIP_HTTP_PORT": str(port), "MODELDROP_PROCESSES": "2"}
    with running(tmp_path / "empty", tmp_path / "r", **env) as both:
        assert both.until_exit() == 3
        assert len(both.events("load_failed")) == 1


def test_until_the_first_is_ready_it_says_that_it_loads(script_folder, tmp_path, port):
    env = {"MODELDROP_UDS": "", "AIP_HTTP_PORT": str(port), "MODELDROP_PROCESSES": "2"}
    with running(script_folder, tmp_path / "r", **env) as both:
        both.until(lambda: both.events("listening"), "listening")
        seen = set()
        while not both.events("ready") and both.process.poll() is None:
            try:
                seen.add(httpx.get(f"http://127.0.0.1:{port}/ping", timeout=5).status_code)
            except httpx.ConnectError:
                time.sleep(0.01)
        assert seen <= {200, 503}
        assert 503 in seen


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(script_folder, tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        env = {"MODELDROP_UDS": "", "AIP_HTTP_PORT": str(taken.getsockname()[1]), "MODELDROP_PROCESSES": "2"}
        with running(script_folder, tmp_path / "r", **env) as both:
            assert both.until_exit() == 2
            assert both.events("listen_failed")


def test_on_a_unix_socket_both_take_connections(script_folder, tmp_path):
    with running(script_folder, tmp_path, MODELDROP_PROCESSES="2") as both:
        both.until(lambda: len(both.events("ready")) == 2, "two were ready")
        for _ in range(8):
            with both.client() as client:
                assert client.post("/predict", json=INSTANCES).status_code == 200


# --- decisions ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("env", "processes"),
    [
        ({}, 1),
        ({"MODELDROP_PROCESSES": "3"}, 3),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, 2),
        ({"MODELDROP_PROCESSES": "1", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, 1),
    ],
)
def test_how_many_is_said_by_us_or_by_sagemaker(env, processes):
    assert Settings.from_env(env).processes == processes


def test_cores_are_shared_out_among_them(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert Settings.from_env({"MODELDROP_PROCESSES": "3"}).threads == 2
    assert Settings.from_env({"MODELDROP_PROCESSES": "16"}).threads == 1


def test_a_second_version_is_loaded_into_one_process_only():
    with pytest.raises(SettingsError, match="MODELDROP_CONTROL_SOCKET or MODELDROP_PROCESSES"):
        Settings.from_env({"MODELDROP_PROCESSES": "2", "MODELDROP_CONTROL_SOCKET": "/run/c"})


def test_pages_of_metrics_become_one_with_each_family_once():
    first = '# HELP a What.\n# TYPE a counter\na{status="200"} 3.0\n# HELP b How.\n# TYPE b gauge\nb 1.0\n'
    second = '# HELP a What.\n# TYPE a counter\na{status="500"} 1.0\n'
    assert join({"1": second, "0": first}) == (
        '# HELP a What.\n# TYPE a counter\na{process="0",status="200"} 3.0\na{process="1",status="500"} 1.0\n'
        '# HELP b How.\n# TYPE b gauge\nb{process="0"} 1.0\n'
    )


def test_calls_that_only_seem_long_on_a_thread_come_back_to_the_loop():
    pace = Pace(may_be_short=True, most=32)
    for _ in range(LEAST_PAUSE):
        assert not pace.is_short
        pace.note(1, 0.004)  # with a wait for the interpreter's lock in it
    assert pace.is_short
    pace.note(1, 0.0002, on_loop=True)
    pace.note(1, 0.0002, on_loop=True)
    assert pace.is_short
    assert pace.short_calls >= SHORT_CALLS


def test_a_try_on_the_loop_that_was_in_vain_is_repeated_more_and_more_seldom():
    pace = Pace(may_be_short=True, most=32)
    waits = []
    for _ in range(4):
        calls = 0
        while not pace.is_short:
            pace.note(1, 0.004)
            calls += 1
        waits.append(calls)
        pace.note(1, 0.004, on_loop=True)
    assert waits == [LEAST_PAUSE, 2 * LEAST_PAUSE, 4 * LEAST_PAUSE, 8 * LEAST_PAUSE]


def test_what_takes_really_long_is_never_tried_on_the_loop():
    pace = Pace(may_be_short=True, most=32)
    for _ in range(10 * LEAST_PAUSE):
        pace.note(1, 0.02)
        assert not pace.is_short


def test_where_there_is_one_core_a_longer_call_may_hold_up_the_loop():
    pace = Pace(may_be_short=True, most=32, short_s=0.005)
    for _ in range(SHORT_CALLS):
        pace.note(4, 0.003)
    assert pace.is_short
    assert pace.call_s == pytest.approx(0.003)
