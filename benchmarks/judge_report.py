"""What the simulated rollouts say: shares and quantiles to figures, figures to goals and a page. Pure."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.judge_ours import End
from benchmarks.judge_scenarios import EQUAL, ERRORS, FEW_ERRORS, HALF, RARE, SLOW
from benchmarks.serving_report import goal

OURS = "Modeldrop"
OUTCOMES = ("promoted", "held", "aborted", "rolled_back")
SOON = 20  # canary requests

Figures = Mapping[str, Any]


def figures(ends: Sequence[End]) -> dict[str, Any]:
    """Return how often a rule's rollouts ended how, and what it took."""
    counted = Counter(end.outcome for end in ends)
    return {
        "rollouts": len(ends),
        "ends": {outcome: counted[outcome] for outcome in OUTCOMES},
        "caught_soon": sum(e.outcome == "rolled_back" and e.canary_requests <= SOON for e in ends),
        "canary_requests": {
            f"p{q}": round(float(np.percentile([e.canary_requests for e in ends], q))) for q in (50, 99)
        },
        "seconds": {f"p{q}": round(float(np.percentile([e.seconds for e in ends], q))) for q in (50, 99)},
    }


def share(found: Figures, outcome: str) -> float:
    return float(found["ends"][outcome]) / float(found["rollouts"])


# --- goals -----------------------------------------------------------------------------------------------------------
def goals(seen: Sequence[Figures]) -> list[dict[str, Any]]:
    """Return the judge's goals; each kind of endpoint must meet its group's, and the worst is what is said."""
    return [
        _at_most("an equal canary is wrongly rolled back", _of(seen, EQUAL), "rolled_back", 0.02),
        *_caught("5 % errors against none, 10 requests/s", _of(seen, ERRORS), 0.99),
        *_caught("5 % errors against none, 1 request/s", _of(seen, FEW_ERRORS), 0.95),
        _soon(_of(seen, HALF)),
        *_caught("a doubled p95", _of(seen, SLOW), 0.99),
        _at_most("promoted at 3 requests per hour", _of(seen, RARE), "promoted", 0.0),
    ]


def _of(seen: Sequence[Figures], group: str) -> list[Figures]:
    return [s["rules"][OURS] for s in seen if s["group"] == group]


def _at_most(name: str, found: Sequence[Figures], outcome: str, most: float) -> dict[str, Any]:
    worst = max(share(f, outcome) for f in found)
    return goal(name, f"<= {most:.0%}", _shares(worst, found), met=worst <= most)


def _caught(name: str, found: Sequence[Figures], least: float) -> list[dict[str, Any]]:
    """Say both: that it is not promoted, and the stricter, that it is rolled back and not only held."""
    kept, caught = (f(share(each, o) for each in found) for f, o in ((max, "promoted"), (min, "rolled_back")))
    return [
        goal(f"{name}: not promoted", f">= {least:.0%}", _shares(1 - kept, found), met=1 - kept >= least),
        goal(f"{name}: rolled back", f">= {least:.0%}", _shares(caught, found), met=caught >= least),
    ]


def _soon(found: Sequence[Figures]) -> dict[str, Any]:
    worst = min(f["caught_soon"] / f["rollouts"] for f in found)
    name = f"50 % errors against none: rolled back within {SOON} canary requests"
    return goal(name, ">= 99 %", _shares(worst, found), met=worst >= 0.99)


def _shares(worst: float, found: Sequence[Figures]) -> str:
    kinds = f", the worst of {len(found)} kinds" if len(found) > 1 else ""
    return f"{worst:.2%} of {sum(f['rollouts'] for f in found)} rollouts{kinds}"


# --- page ------------------------------------------------------------------------------------------------------------
def as_markdown(found: Figures) -> str:
    out = io.StringIO()
    m = found["machine"]
    rollouts = sum(rule["rollouts"] for s in found["scenarios"] for rule in s["rules"].values())
    out.write("# The judge: how often it errs\n\n")
    out.write(f"`python benchmarks/judge.py{_size(found)}`: {rollouts} simulated rollouts, Python {m['python']}. ")
    out.write("Seeded: the figures are the same on any machine.\n\n")
    out.write("| goal | wanted | measured | met |\n|---|---|---|---|\n")
    for g in found["goals"]:
        out.write(f"| {g['name']} | {g['goal']} | {g['measured']} | {'yes' if g['met'] else '**no**'} |\n")
    out.write(_ABOUT)
    out.write(
        "| canary | should be | " + " | ".join(found["scenarios"][0]["rules"]) + " |\n|---|---|---|---|---|---|\n"
    )
    for s in found["scenarios"]:
        cells = " | ".join(_cell(rule) for rule in s["rules"].values())
        out.write(f"| {s['scenario']} | {s['right']} | {cells} |\n")
    out.write("\nWhat it takes us: canary requests and minutes until the end.\n\n")
    out.write(
        "| canary | rollouts | canary requests, median | 99 % | minutes, median | 99 % |\n|---|---|---|---|---|---|\n"
    )
    for s in found["scenarios"]:
        out.write(_effort(s["scenario"], s["rules"][OURS]))
    return out.getvalue()


def _size(found: Figures) -> str:
    return "" if found["share"] == 1 else f" --share {found['share']:g}"


_ABOUT = """
![The same runs under four rules](judge.png)

The share of rollouts that were promoted / held for a person or ended by policy / rolled back, ten requests a second
unless said. Ours: the defaults, looked at each half second. Flagger, Argo Rollouts and Kayenta: the rules of their own
guides (see the docstrings of `judge_peers.py` and `judge_kayenta.py`); each can be configured otherwise, Argo's guide
has no rule on latency, and Flagger's is a fixed 500 ms.

"""


def _cell(found: Figures) -> str:
    waits = share(found, "held") + share(found, "aborted")
    return f"{share(found, 'promoted'):.1%} / {waits:.1%} / {share(found, 'rolled_back'):.1%}"


def _effort(name: str, found: Figures) -> str:
    requests, seconds = found["canary_requests"], found["seconds"]
    times = f"{seconds['p50'] / 60:.1f} | {seconds['p99'] / 60:.1f}"
    return f"| {name} | {found['rollouts']} | {requests['p50']} | {requests['p99']} | {times} |\n"
