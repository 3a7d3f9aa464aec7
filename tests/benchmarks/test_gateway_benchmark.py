"""The gateway's benchmark believes no run in which anything failed, and compares what it says it compares."""

from dataclasses import asdict

import pytest

from benchmarks.gateway import CELLS, DIRECT, GATEWAY, PROXY, as_markdown, goals
from benchmarks.gateway_load import Seen, Target, middle, seen_of, write_script

SAID = """Running 1s test @ https://localhost:1/
  1 threads and 1 connections

{"requests": 4000, "us": 2000000, "p50": 410.0, "p99": 2500.0, "max": 9000.0, "connect": 0, "read": %d, "write": 0, \
"timeout": 0, "status": %d}
"""


def seen(rate=1000.0, p50=1.0, **errors):
    return Seen(rate, p50, p50 * 2, p50 * 5, errors)


def cells(**changed):
    """Every cell as the benchmark stores it: directly 1 ms, through the gateway 1.2 ms, the proxy a fifth as fast."""
    usual = {DIRECT: seen(), GATEWAY: seen(p50=1.2), PROXY: seen(200.0)}
    shown = {through: asdict(changed.get(through, one)) for through, one in usual.items()}
    return [{"work": c.work, "connections": c.connections, "through": {t: shown[t] for t in c.through}} for c in CELLS]


def met(**changed):
    return [goal["met"] for goal in goals(cells(**changed))]


def test_what_wrk_saw_is_read_in_milliseconds():
    assert seen_of(SAID % (0, 0)) == Seen(2000.0, 0.41, 2.5, 9.0, {})


def test_what_failed_is_named():
    assert seen_of(SAID % (3, 70)).errors == {"read": 3, "status": 70}


def test_a_run_without_an_answer_is_void():
    assert seen_of(SAID.replace("4000", "0") % (0, 0)).errors == {"no_answers": 1}


def test_the_median_of_rounds_keeps_every_error():
    whole = middle([seen(1.0), seen(3.0, status=2), seen(2.0, status=1, read=4)])
    assert (whole.rate, whole.errors) == (2.0, {"status": 3, "read": 4})


def test_the_body_and_the_headers_are_sent_as_they_are(tmp_path):
    target = Target("https://x/", b'{"instances": ["\xc3\xa9"]}', {"Authorization": 'Bearer "a\\b"'})
    script = write_script(target, tmp_path).read_text()
    assert r'wrk.headers["Authorization"] = "Bearer \"a\\b\""' in script
    assert str(tmp_path / "body") in script
    assert (tmp_path / "body").read_bytes() == target.body


def test_every_goal_is_met_by_a_gateway_that_adds_little():
    assert all(met())


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({GATEWAY: seen(p50=1.5)}, "above a direct call"),
        ({GATEWAY: seen(599.0, 1.2)}, "Starlette"),
        ({PROXY: seen(400.0)}, "Starlette"),
    ],
)
def test_a_goal_is_missed_where_the_comparison_says_so(changed, missed):
    assert {goal["met"] for goal in goals(cells(**changed)) if missed in goal["name"]} == {False}


@pytest.mark.parametrize("through", [DIRECT, GATEWAY])
def test_an_error_makes_every_goal_of_its_cells_void(through):
    void = [goal for goal in goals(cells(**{through: seen(1e6, 0.1, status=1)})) if goal["name"].startswith("p50")]
    assert [(goal["met"], goal["measured"].startswith("void")) for goal in void] == [(False, True)] * 3


def test_the_page_says_every_goal_and_every_cell():
    found = {
        "machine": {"cores": 2, "cpu": "X", "python": "3.11"}, "quick": False, "load": 0.1, "rounds": 3, "seconds": 4,
        "peers": {"httpx": "1"}, "cells": cells(), "goals": goals(cells(**{PROXY: seen(900.0)})),
    }  # fmt: skip
    page = as_markdown(found)
    assert page.count("| **no** |") == 2
    assert [f"| {c.work}, {c.connections} | {t} | " in page for c in CELLS for t in c.through] == [True] * 15
