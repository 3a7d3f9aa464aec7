"""Whether one share of bad requests is larger than another: how every check of shares comes to its verdict."""

from math import ceil, log, sqrt

from chalicelib.domain.evidence import Count, evidence, evidence_above
from chalicelib.domain.rollout import Judgement, Outcome

# A check wrongly fails a canary that isn't worse at most once in so many steps, however often it is looked at: with
# eight checks that can fail and three steps that are judged, at most 1.2 % of rollouts. (A shadow's distribution of
# outputs is a ninth, without that guarantee.)
ODDS = 2000.0
LEAST_BAD = 3  # one blip of the network can take two requests with it


def compare_shares(what: str, canary: Count, stable: Count | None, tolerance: float) -> Judgement:
    """Fail on strong evidence of a larger share, pass what is no larger than stable's, its chance and the tolerance."""
    said = f"canary {canary.bad} {what} in {canary.total} requests"
    said += f", stable {stable.bad} in {stable.total}" if stable else ""
    if canary.bad >= LEAST_BAD and _evidence(canary, stable, tolerance) >= log(ODDS):
        return Judgement(Outcome.FAIL, said)
    allowed = _allowed(canary.total, stable, tolerance)
    if canary.bad <= allowed:
        return Judgement(Outcome.PASS, said)
    reason = f"{said}: more than the {allowed:.1f} allowed, too few to say that it is worse"
    return Judgement(Outcome.INCONCLUSIVE, reason, samples_needed=_more(canary, stable, tolerance))


def _evidence(canary: Count, stable: Count | None, tolerance: float) -> float:
    return evidence(canary, stable, tolerance) if stable else evidence_above(canary, tolerance)


def _allowed(requests: int, stable: Count | None, tolerance: float) -> float:
    """Return how many bad ones are no worse: stable's share, one standard deviation of its chance, the tolerance."""
    if not stable or not stable.total:
        return requests * tolerance
    chance = sqrt(requests * stable.share * (1 - stable.share) * (1 + requests / stable.total))
    return requests * min(1.0, stable.share + tolerance) + chance


def _more(canary: Count, stable: Count | None, tolerance: float) -> int:
    """Return how many good requests would make up for the bad ones; where none can, as many again."""
    share = (stable.share if stable else 0.0) + tolerance
    return max(1, ceil(canary.bad / share) - canary.total) if share else canary.total
