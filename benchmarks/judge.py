"""How often the judge errs, in thousands of simulated rollouts, beside the rules that others publish.

`python benchmarks/judge.py [--share 0.02]`: about ten minutes on 2 cores of their own; `--share` takes a part of the
rollouts. Ours are driven through the real `decide()`. Every run is seeded, so the figures are the same on any machine.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.judge_kayenta import kayenta  # noqa: E402
from benchmarks.judge_ours import End, rolled_out  # noqa: E402
from benchmarks.judge_peers import Rule, argo, flagger  # noqa: E402
from benchmarks.judge_plot import draw  # noqa: E402
from benchmarks.judge_report import OURS, as_markdown, figures, goals  # noqa: E402
from benchmarks.judge_scenarios import RIGHT, SCENARIOS  # noqa: E402
from benchmarks.validation import RESULTS, keep, machine  # noqa: E402

RULES: dict[str, Rule] = {"Flagger": flagger, "Argo Rollouts": argo, "Kayenta": kayenta}
_CHUNK = 25  # rollouts that a process does at a time
_KAYENTA_AT_MOST = 50  # its rollouts are three hours of traffic each


@dataclass(frozen=True)
class Task:
    scenario: int
    rule: str
    seeds: range


def work(task: Task) -> list[End]:
    scenario = SCENARIOS[task.scenario]
    if task.rule == OURS:
        return [rolled_out(scenario.world, s, plan=scenario.plan, horizon=scenario.horizon) for s in task.seeds]
    return [RULES[task.rule](scenario.world, s) for s in task.seeds]


def tasks(share: float) -> Iterator[Task]:
    """Yield the work, the longest first."""
    for rule in (OURS, *RULES):
        for number, scenario in enumerate(SCENARIOS):
            rollouts = ceil(scenario.rollouts * share)
            rollouts = min(rollouts, _KAYENTA_AT_MOST) if rule == "Kayenta" else rollouts
            yield from (Task(number, rule, range(s, min(s + _CHUNK, rollouts))) for s in range(0, rollouts, _CHUNK))


def measure(share: float, processes: int) -> list[dict[str, Any]]:
    """Run everything and return the figures of each scenario under each rule."""
    every = list(tasks(share))
    found: dict[tuple[int, str], list[End]] = {}
    with ProcessPoolExecutor(processes) as pool:
        for task, ends in zip(every, pool.map(work, every), strict=True):
            found.setdefault((task.scenario, task.rule), []).extend(ends)
    return [_of_scenario(number, found) for number in range(len(SCENARIOS))]


def _of_scenario(number: int, found: Mapping[tuple[int, str], Sequence[End]]) -> dict[str, Any]:
    scenario = SCENARIOS[number]
    rules = {rule: figures(found[number, rule]) for rule in (OURS, *RULES)}
    return {"scenario": scenario.name, "group": scenario.group, "right": RIGHT[scenario.group], "rules": rules}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--share", type=float, default=1.0, help="of the rollouts")
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options.add_argument("--folder", type=Path, default=RESULTS, help="of the results")
    chosen = options.parse_args()
    began = time.monotonic()
    seen = measure(chosen.share, chosen.processes)
    seconds = round(time.monotonic() - began)
    result = {"machine": machine(), "share": chosen.share, "seconds": seconds, "scenarios": seen, "goals": goals(seen)}
    keep("judge", result, as_markdown(result), chosen.folder)
    draw(seen, chosen.folder / "judge.png")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
