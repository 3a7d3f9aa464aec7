"""The same runs under each rule, side by side, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_KINDS = (
    ("promoted", "promoted", "#3b7dd8"),
    ("held", "held for a person", "#c9ced6"),
    ("aborted", "ended by policy", "#8d96a3"),
    ("rolled_back", "rolled back", "#e07b39"),
)


def draw(scenarios: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a row for each kind of canary and a bar in it for each rule."""
    mpl.use("agg")
    rules = list(scenarios[0]["rules"])
    figure = Figure(figsize=(11, 0.62 * len(scenarios) + 1.4), dpi=110)
    axes = figure.subplots(len(scenarios), len(rules), sharex=True, squeeze=False)
    for row, scenario in zip(axes, scenarios, strict=True):
        row[0].set_ylabel(
            f"{scenario['scenario']}\nshould be {scenario['right']}", rotation=0, ha="right", va="center", fontsize=8
        )
        for axis, rule in zip(row, rules, strict=True):
            _bar(axis, scenario["rules"][rule])
    for axis, rule in zip(axes[0], rules, strict=True):
        axis.set_title(rule, fontsize=10)
    handles = [mpl.patches.Patch(color=colour, label=label) for _, label, colour in _KINDS]
    figure.legend(handles=handles, loc="lower center", ncols=len(_KINDS), frameon=False, fontsize=9)
    figure.suptitle("The same simulated rollouts under the rules that each publishes", fontsize=11)
    figure.tight_layout(rect=(0, 0.04, 1, 0.99))
    figure.savefig(path)


def _bar(axis: Any, found: Mapping[str, Any]) -> None:
    left = 0.0
    for outcome, _, colour in _KINDS:
        share = 100 * found["ends"][outcome] / found["rollouts"]
        axis.barh([0], [share], left=left, color=colour, height=0.8)
        if share >= 8:
            axis.text(left + share / 2, 0, f"{share:.0f} %", ha="center", va="center", fontsize=7)
        left += share
    axis.set(xlim=(0, 100), ylim=(-0.5, 0.5), yticks=[], xticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
