"""The pure parts of the serving benchmark: what figures are made of what was seen, and what they say of the goals."""

import json

import numpy as np
import pytest

from benchmarks.serving_process import counted_once, read_smaps
from benchmarks.serving_report import as_markdown, best, goals, ratio, starts
from benchmarks.serving_work import WORKS, answer_of, body, is_right

ROLES = {"ours": "ours", "A": "peer", "B": "peer", "limit": "limit"}
KB = 1024


def cell(*rates, p99=1.0, **errors):
    rounds = [{"rate": rate} for rate in rates]
    return {"rate": sorted(rates)[len(rates) // 2], "p50_ms": 0.5, "p99_ms": p99, "errors": errors, "rounds": rounds}


def figures(server, at_eight, *, work="w1", started=1.0, rss=100.0, error=""):
    memory = {"processes": 1, "rss_mb": rss, "once_mb": rss}
    cells = {} if at_eight is None else {"8": at_eight}
    return {"work": work, "server": server, "error": error, "started_s": started, "memory": memory, "cells": cells}


def found(*measured, **more):
    return {"measured": list(measured), "roles": ROLES, "saved_model": [], "hot_load": None, "gpu": {}} | more


def met(seen):
    return {g["name"]: g["met"] for g in goals(seen)}


# Ratios
def test_a_ratio_is_the_median_of_each_rounds_ratio_to_that_rounds_best_peer():
    ours = figures("ours", cell(100, 300, 100))
    peers = [figures("A", cell(20, 60, 10)), figures("B", cell(10, 50, 50))]
    assert ratio(ours, peers, 8) == 5.0  # 100/20, 300/60, 100/50


def test_a_peer_with_failed_answers_is_compared_with_nobody():
    ours, wrong = figures("ours", cell(100)), figures("A", cell(90_000, status=3))
    assert best([wrong], 8) is None
    assert ratio(ours, [wrong, figures("B", cell(10))], 8) == 10.0
    assert ratio(ours, [wrong], 8) is None


def test_our_own_failed_answers_leave_no_ratio():
    assert ratio(figures("ours", cell(100, status=1)), [figures("A", cell(10))], 8) is None


# Goals
@pytest.mark.parametrize(("rate", "reached"), [(500, True), (499, False)])
def test_five_times_the_best_peer_is_wanted_of_w1(rate, reached):
    seen = met(found(figures("ours", cell(rate)), figures("A", cell(100)), figures("B", cell(50))))
    assert seen["w1 at 8 connections, in the best peer's throughput"] is reached


def test_the_limit_is_no_peer():
    seen = met(found(figures("ours", cell(500)), figures("A", cell(100)), figures("limit", cell(90_000))))
    assert seen["w1 at 8 connections, in the best peer's throughput"]


@pytest.mark.parametrize(("rss", "reached"), [(50, True), (51, False)])
def test_w4_wants_half_the_memory_of_the_peer_that_was_fastest(rss, reached):
    ours = figures("ours", cell(110), work="w4", rss=rss)
    peers = [figures("A", cell(100), work="w4", rss=100.0), figures("B", cell(90), work="w4", rss=1000.0)]
    assert met(found(ours, *peers))["memory at w4, in that of the best peer at 8 connections"] is reached


def test_p99_is_compared_with_the_lowest_of_all_peers():
    ours = figures("ours", cell(500, p99=2.0))
    slow_but_even = [figures("A", cell(100, p99=3.0)), figures("B", cell(10, p99=1.9))]
    assert not met(found(ours, *slow_but_even))["p99 of w1 at 8 connections"]
    assert met(found(ours, slow_but_even[0]))["p99 of w1 at 8 connections"]


def test_a_start_is_the_median_over_all_works():
    measured = [figures("A", None, work=w.name, started=s) for w, s in zip(WORKS, (9, 2, 3, 2, 1), strict=True)]
    assert starts(measured) == {"A": 2}


def test_what_was_not_measured_is_not_met():
    dead = figures("ours", None, started=None, error="ended with 3")
    assert not any(met(found(dead, figures("A", cell(100)))).values())


@pytest.mark.parametrize(("added", "reached"), [(10.0, True), (10.1, False)])
def test_a_hot_load_may_add_ten_milliseconds(added, reached):
    hot = {"added_ms": added, "loading_ms": added + 1, "before_ms": 1.0}
    seen = met(found(figures("ours", cell(1)), hot_load=hot))
    assert seen["hot load of a second version, added to the first's worst request"] is reached


def test_a_gpu_is_told_of_only_where_there_is_one():
    model = {"rows_per_s": 91.0, "raw_rows_per_s": 100.0}
    name = "resnet50 on the GPU, in the raw batched forward's"
    assert met(found(figures("ours", cell(1)), gpu={"models": {"resnet50": model}}))[name]
    assert name not in met(found(figures("ours", cell(1)), gpu={"skipped": "no GPU"}))


# The page
def test_the_page_shows_void_cells_and_servers_that_did_not_start():
    seen = found(
        figures("ours", cell(100)),
        figures("A", cell(90_000, status=3)),
        figures("B", None, started=None, error="ended with 1: no Java"),
        gpu={"skipped": "no GPU here"},
    )
    seen |= {"machine": {"cores": 2, "cpu": "X", "python": "3"}, "versions": {}, "load": 0.1, "quick": False}
    seen |= {"length": {"rounds": 1, "seconds": 1, "connections": [8]}, "raw": {}, "works": {"w1": "an MLP"}}
    page = as_markdown(seen | {"servers": dict.fromkeys(ROLES, "as it is"), "goals": goals(seen)})
    assert "| ours | 100 | 0.50 | 1.00 |" in page
    assert "| A | void: 3 status |" in page
    assert "Not measured: B at w1: ended with 1: no Java" in page
    assert "no GPU here" in page


# Requests and answers
def test_a_request_is_written_as_its_contract_has_it():
    assert json.loads(body("instances", [[1.5, 2.0]])) == {"instances": [[1.5, 2.0]]}
    [tensor] = json.loads(body("v2", [[1.5, 2.0]]))["inputs"]
    assert (tensor["shape"], tensor["datatype"], tensor["data"]) == ([1, 2], "FP32", [1.5, 2.0])
    [picture] = json.loads(body("v2", [{"b64": "aGk="}]))["inputs"]
    assert (picture["shape"], picture["datatype"], picture["data"]) == ([1], "BYTES", ["aGk="])


def test_an_answer_is_read_as_its_contract_has_it():
    assert answer_of("octets", b'{"predictions": [[1, 2]]}').tolist() == [[1, 2]]
    assert answer_of("v2", b'{"outputs": [{"shape": [2, 1], "data": [1, 2]}]}').tolist() == [[1], [2]]


def test_an_answer_is_right_when_shape_and_numbers_are():
    expected = np.array([[1.0, 2.0]])
    assert is_right(np.array([[1.00001, 2.0]]), expected)
    assert not is_right(np.array([[1.1, 2.0]]), expected)
    assert not is_right(np.array([1.0, 2.0]), expected)


# Memory
def smaps(*mappings):
    sizes = "Size: 99 kB\nRss: {2} kB\nShared_Clean: {3} kB\nPrivate_Dirty: {4} kB\nVmFlags: rd\n"
    text = "{0} r-xp 00000000 fe:00 7 {1}\n" + sizes
    return read_smaps("".join(text.format(*m) for m in mappings))


def test_pages_that_a_tree_shares_count_once():
    first = smaps(("10-20", "/lib/torch.so", 100, 90, 10), ("20-30", "", 5, 0, 5))
    second = smaps(("50-60", "/lib/torch.so", 80, 70, 10), ("60-70", "[heap]", 7, 0, 7))
    assert counted_once([first, second]) == (90 + 10 + 5 + 10 + 7) * KB


def test_memory_of_no_file_is_told_apart_by_its_address():
    forked = [smaps(("10-20", "", 8, 8, 0)), smaps(("10-20", "", 8, 8, 0)), smaps(("30-40", "", 4, 4, 0))]
    assert counted_once(forked) == 12 * KB
