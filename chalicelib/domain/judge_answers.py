"""The judge's checks of what a model answers: how answers are built, how a shadow agrees, how outputs are distributed.

Each says nothing where nothing was counted for it (see `marks`).
"""

from dataclasses import replace
from math import log

from chalicelib.domain.evidence import Count, evidence_above
from chalicelib.domain.rollout import Judgement, Outcome, Thresholds
from chalicelib.domain.shadow import AGREED, COMPARED
from chalicelib.domain.shares import LEAST_BAD, ODDS, compare_shares
from chalicelib.domain.shift import psi
from chalicelib.domain.structure import example, new_ones, structures
from chalicelib.domain.traffic import Traffic

LEAST_STABLE = 20  # answers of stable that were looked at
LEAST_OUTPUTS = 50  # on each side
_NOTHING = Judgement(Outcome.PASS, "")


def structure(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    """Compare how sampled answers are built; where stable's weren't sampled there is nothing to say."""
    ours, theirs = structures(canary.marks), structures(stable.marks) if stable else {}
    if not ours or sum(theirs.values()) < LEAST_STABLE:
        return _NOTHING
    new, once = new_ones(ours, theirs)
    if new.bad < LEAST_BAD:  # stable may just not have shown them yet
        return _NOTHING
    verdict = compare_shares("new structures of answers", new, once, thresholds.max_structure_share)
    return replace(verdict, reason=f"{verdict.reason}: {example(ours, theirs)}")


def agreement(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    """Ask how often a shadow answers what callers got."""
    del stable  # what it answered was compared one by one
    compared = canary.marks.get(COMPARED, 0)
    if not compared:
        return _NOTHING
    differing = Count(compared - canary.marks.get(AGREED, 0), compared)
    said = f"{compared - differing.bad} of {compared} predictions agree, {thresholds.min_agreement:.1%} wanted"
    tolerance = 1 - thresholds.min_agreement
    if differing.bad >= LEAST_BAD and evidence_above(differing, tolerance) >= log(ODDS):
        return Judgement(Outcome.FAIL, said)
    if differing.bad < LEAST_BAD or differing.share <= tolerance + 1e-9:
        return Judgement(Outcome.PASS, said)
    return Judgement(Outcome.INCONCLUSIVE, f"{said}: too few to say that they don't", samples_needed=compared)


def distribution(canary: Traffic, stable: Traffic | None, thresholds: Thresholds) -> Judgement:
    """Ask whether a shadow's outputs are distributed as those that callers got; what may be chance is allowed."""
    del stable
    index, chance, outputs = psi(canary.marks)
    if outputs < LEAST_OUTPUTS:
        return _NOTHING
    said = f"PSI of {outputs} outputs {index:.3f}, at most {thresholds.max_psi:.3f} wanted"
    if index <= thresholds.max_psi:
        return Judgement(Outcome.PASS, said)
    if index - chance > thresholds.max_psi:
        return Judgement(Outcome.FAIL, said)
    return Judgement(Outcome.INCONCLUSIVE, f"{said}: {chance:.3f} of it may be chance", samples_needed=outputs)
