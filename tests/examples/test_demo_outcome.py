import io
import json
from dataclasses import replace

import pytest
from load import Tally
from outcome import Dropped, Outcome, as_table, shortfalls
from rich.console import Console
from rollout import describe, weights_by_version

SEEN = Tally(requests=900, failed=0, nonfinite=0, accuracy=0.85, p50_ms=6, p95_ms=9)
V1 = Dropped("v1", "torch_archive", "promoted", "first version", 9.5)
V2 = Dropped("v2", "saved_model", "promoted", "50 requests, 0 errors", 31.0)
V3 = Dropped("v3", "torch_archive", "rolled_back", "3 of 9 answers not finite", 12.0)


@pytest.fixture
def good(tmp_path):
    picture = tmp_path / "rollout.png"
    picture.write_bytes(b"png")
    tallies = {"v1": SEEN, "v2": replace(SEEN, accuracy=0.97), "v3": replace(SEEN, requests=9, nonfinite=3)}
    return Outcome("embedded", 71.0, [V1, V2, V3], tallies, errors=[], left_behind=[], pictures=[picture])


def test_a_demo_that_came_out_has_no_shortfalls(good):
    assert shortfalls(good) == []
    assert good.as_json()["ok"] is True


def test_a_broken_version_that_was_promoted_is_a_shortfall(good):
    worse = replace(good, drops=[V1, V2, replace(V3, phase="promoted", reason="no evidence")])
    assert shortfalls(worse) == ["v3 ended promoted, not rolled_back: no evidence"]


def test_a_version_that_never_got_that_far_is_a_shortfall(good):
    assert shortfalls(replace(good, drops=[V1, V2])) == ["v3 was never rolled out"]


def test_one_failed_request_is_a_shortfall_and_says_its_error(good):
    tallies = {**good.tallies, "": replace(SEEN, requests=1, failed=1, accuracy=0)}
    assert shortfalls(replace(good, tallies=tallies, errors=["ConnectError: refused"])) == [
        "1 of 1810 requests failed: ConnectError: refused"
    ]


def test_a_second_version_that_is_no_better_is_a_shortfall(good):
    tallies = {**good.tallies, "v2": SEEN}
    assert shortfalls(replace(good, tallies=tallies)) == ["v2's accuracy is 85.0%, no better than v1's 85.0%"]


def test_a_version_that_answered_nothing_is_a_shortfall(good):
    assert shortfalls(replace(good, tallies={"v1": SEEN})) == ["no request was answered by v2"]


def test_silence_is_a_shortfall(good):
    assert shortfalls(replace(good, tallies={})) == ["no request was made"]


def test_what_the_platform_leaves_running_is_a_shortfall(good):
    assert shortfalls(replace(good, left_behind=["71 minio server"])) == [
        "process 71 minio server outlived the platform"
    ]


def test_a_missing_picture_is_a_shortfall(good):
    good.pictures[0].unlink()
    assert shortfalls(good) == [f"{good.pictures[0]} was not written"]
    assert shortfalls(replace(good, pictures=[])) == ["no picture was drawn"]


def test_the_summary_is_json_with_the_counts(good):
    body = json.loads(json.dumps(good.as_json()))
    assert (body["requests"], body["failed"], body["shortfalls"]) == (1809, 0, [])
    assert body["tallies"]["v3"]["nonfinite"] == 3


def test_the_table_fits_a_terminal_and_tells_each_versions_end(good):
    console = Console(width=80, file=io.StringIO())
    console.print(as_table(replace(good, tallies={"v1": SEEN})))
    text = console.file.getvalue()
    for said in ("rolled back", "torch_archive", "85.0%", "saved_model"):
        assert said in text


def test_the_split_is_read_by_version():
    deployments = {"v1-ab": {"version_id": "v1"}, "v2-cd": {"version_id": "v2"}}
    assert weights_by_version({"deployments": deployments, "split": {"v1-ab": 95, "v2-cd": 5}}) == {"v1": 95, "v2": 5}


@pytest.mark.parametrize(
    ("needed", "said"),
    [(12, "canary at 5 % (inconclusive, 12 more requests needed)"), (0, "canary at 5 % (inconclusive)")],
)
def test_an_open_rollout_is_described_by_its_step_and_what_it_waits_for(needed, said):
    judgement = {"outcome": "inconclusive", "samples_needed": needed}
    assert describe({"phase": "stepping", "weight": 5, "judgement": judgement}) == said


def test_a_rollout_without_traffic_is_described_as_starting():
    assert describe({"phase": "starting"}) == "starting and load testing its deployment"
