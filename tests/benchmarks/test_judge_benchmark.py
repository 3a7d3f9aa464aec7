"""The judge's simulation: its virtual world is what it says, the peers' rules are theirs, and its goals are strict."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.judge_kayenta import ERROR, FINE, HIGH, NODATA, classified, kayenta, score_of, shift
from benchmarks.judge_ours import End, rolled_out
from benchmarks.judge_peers import argo, flagger
from benchmarks.judge_report import figures, goals
from benchmarks.judge_scenarios import SCENARIOS, SLOW, SLOW_TAIL
from benchmarks.judge_world import Side, World, requests, until
from chalicelib.domain.rollout import OnInconclusive, Plan

ROOT = Path(__file__).parents[2]
USUAL, BROKEN = World(Side()), World(Side(errors=0.5))
RARE = World(Side(), rate=3 / 3600)


# The world
def test_a_run_is_the_same_each_time_and_another_seed_is_another_run():
    first, again, other = (next(requests(USUAL, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.at, again.at)
    assert not np.array_equal(first.at, other.at)


def test_requests_come_at_the_rate_and_fail_and_last_as_their_side_says():
    world = World(Side(errors=0.05, median_ms=100.0, sigma=1.0), Side(), rate=20.0)
    seen = until(world, 3, 1000.0)
    assert len(seen.at) == pytest.approx(20_000, rel=0.03)
    assert seen.canary_failed.mean() == pytest.approx(0.05, rel=0.1)
    assert not seen.stable_failed.any()
    assert np.median(seen.canary_ms) == pytest.approx(100, rel=0.05)


def test_the_rate_of_a_day_swings():
    seen = until(World(Side(), rate=1.0, swing=0.9), 4, 86_400.0)
    by_hour = np.histogram(seen.at, 24, (0, 86_400.0))[0]
    assert len(seen.at) == pytest.approx(86_400, rel=0.03)
    assert by_hour.max() > 8 * by_hour.min()


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.group == SLOW], ids=lambda s: s.name)
def test_what_is_called_a_doubled_p95_is_one(scenario):
    seen = until(replace(scenario.world, rate=100.0), 5, 3000.0)
    canary, stable = (np.quantile(ms, 0.95) for ms in (seen.canary_ms, seen.stable_ms))
    assert canary == pytest.approx(2 * stable, rel=0.03)


def test_a_slow_tail_leaves_the_median_where_it_was():
    seen = until(World(SLOW_TAIL), 6, 5000.0)
    assert np.median(seen.canary_ms) < 1.1 * np.median(seen.stable_ms)


# Ours
def test_a_good_canary_takes_each_step_and_is_promoted():
    end = rolled_out(USUAL, 1, plan=Plan(), horizon=3600)
    assert end.outcome == "promoted"
    assert end.canary_requests >= 3 * 50
    assert end.seconds >= 3 * 60


def test_a_broken_canary_is_rolled_back_with_its_reason():
    end = rolled_out(BROKEN, 1, plan=Plan(), horizon=3600)
    assert end.outcome == "rolled_back"
    assert "errors in" in end.reason


def test_too_few_requests_hold_until_the_policy_says_otherwise():
    assert rolled_out(RARE, 1, plan=Plan(), horizon=86_400).outcome == "held"
    assert rolled_out(RARE, 1, plan=Plan(on_inconclusive=OnInconclusive.ABORT), horizon=86_400).outcome == "aborted"


# Flagger and Argo Rollouts
def test_flagger_promotes_after_a_good_minute_at_each_weight():
    assert flagger(USUAL, 1).seconds == 5 * 60
    assert flagger(USUAL, 1).outcome == "promoted"


def test_flagger_rolls_back_at_the_minute_after_five_failed_checks():
    end = flagger(BROKEN, 1)
    assert (end.outcome, end.seconds) == ("rolled_back", 6 * 60)


def test_flagger_calls_an_idle_canary_a_failed_one():
    assert flagger(RARE, 1).outcome == "rolled_back"


def test_flagger_looks_at_500_ms_and_not_at_stable():
    slow = Side(median_ms=400.0, sigma=0.5)
    assert flagger(World(slow, slow), 1).outcome == "rolled_back"
    assert flagger(World(Side(median_ms=120.0)), 1).outcome == "promoted"


def test_argo_aborts_at_the_fourth_failed_measurement():
    end = argo(World(Side(errors=0.9)), 1)
    assert (end.outcome, end.seconds) == ("rolled_back", 25 * 60)


def test_argo_takes_no_data_at_all_for_an_error_and_five_in_a_row_abort():
    end = argo(World(Side(), rate=1e-6), 1)
    assert (end.outcome, end.seconds) == ("rolled_back", 30 * 60)
    assert "5 errors" in end.reason


def test_argo_has_no_rule_on_latency():
    assert argo(World(Side(median_ms=6000.0)), 1).outcome == "promoted"


# Kayenta
def test_the_shift_is_the_hodges_lehmann_estimate_with_its_lower_bound():
    rng = np.random.default_rng(1)
    x, y = rng.normal(5, 1, 60), rng.normal(3, 1, 60)
    lower, estimate = shift(x, y)
    assert estimate == pytest.approx(np.median(np.subtract.outer(x, y)), abs=0.02)
    assert 1.3 < lower < estimate


@pytest.mark.parametrize(
    ("canary", "baseline", "said"),
    [
        ([], [1.0], NODATA),
        ([0.0] * 60, [0.0] * 60, FINE),
        ([1.0], [2.0], ERROR),
        (list(np.linspace(4, 5, 60)), list(np.linspace(1, 2, 60)), HIGH),
        (list(np.linspace(1, 2, 60)), list(np.linspace(4, 5, 60)), FINE),
        (list(np.linspace(1.01, 2.01, 60)), list(np.linspace(1, 2, 60)), FINE),
    ],
)
def test_a_metric_is_classified_as_kayenta_does(canary, baseline, said):
    assert classified(np.array(canary), np.array(baseline)) == said


@pytest.mark.parametrize(
    ("found", "score"), [([FINE, FINE], 100), ([HIGH, FINE], 50), ([NODATA, FINE], 0), ([ERROR, FINE], 100)]
)
def test_the_score_is_that_of_weighted_groups(found, score):
    assert score_of(found) == score


def test_kayenta_needs_its_first_hour_to_see_a_broken_canary():
    end = kayenta(BROKEN, 1)
    assert (end.outcome, end.seconds) == ("rolled_back", 3600)


# What the figures say
def ended(**counts):
    return figures([End(outcome, 60.0, 10) for outcome, many in counts.items() for _ in range(many)])


def seen(**changed):
    usual = {"equal": ended(promoted=100), "rare": ended(held=50, aborted=50)}
    usual |= {group: ended(rolled_back=100) for group in ("errors", "few errors", "half", "slow")}
    return [{"group": group, "rules": {"Modeldrop": found}} for group, found in (usual | changed).items()]


def missed(**changed):
    return [goal["name"] for goal in goals(seen(**changed)) if not goal["met"]]


def test_every_goal_is_met_when_nothing_goes_wrong():
    assert missed() == []


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"equal": ended(promoted=97, rolled_back=3)}, ["an equal canary is wrongly rolled back"]),
        ({"rare": ended(held=99, promoted=1)}, ["promoted at 3 requests per hour"]),
        ({"slow": ended(rolled_back=95, held=5)}, ["a doubled p95: rolled back"]),
        ({"slow": ended(rolled_back=98, promoted=2)}, ["a doubled p95: not promoted", "a doubled p95: rolled back"]),
    ],
)
def test_a_goal_is_missed_for_what_it_is_about(changed, names):
    assert missed(**changed) == names


# Whole
@pytest.mark.slow
def test_a_small_run_writes_its_figures_its_page_and_its_picture(tmp_path):
    command = [sys.executable, "benchmarks/judge.py", "--share", "0.004", "--processes", "2", "--folder", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "judge.json").read_text())
    assert [s["scenario"] for s in found["scenarios"]] == [s.name for s in SCENARIOS]
    assert "| equal, no errors | promoted |" in (tmp_path / "judge.md").read_text()
    assert (tmp_path / "judge.png").read_bytes().startswith(b"\x89PNG")


def test_the_committed_figures_meet_every_goal_with_thousands_of_rollouts():
    found = json.loads((ROOT / "benchmarks" / "results" / "judge.json").read_text())
    assert [g["name"] for g in found["goals"] if not g["met"]] == []
    assert sum(s["rules"]["Modeldrop"]["rollouts"] for s in found["scenarios"]) >= 3000
