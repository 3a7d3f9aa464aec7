"""How strong the evidence is that one share is larger than another, however often one looks.

The counts of a step grow while we look at them, and each look is another chance to see ghosts. So the measure is an
e-value (universal inference): how much better the counts are explained by shares that were left open, mixed over a
prior fixed beforehand, than by the best shares for which the canary is *not* worse. If the canary isn't worse, the
chance that this ratio ever reaches X, at any look, in any order of requests, is at most 1/X. Nothing is assumed
about stable's own share: it may be zero or large.
"""

from dataclasses import dataclass
from math import inf, lgamma, log


@dataclass(frozen=True)
class Count:
    """How many of how many requests were bad."""

    bad: int
    total: int

    @property
    def share(self) -> float:
        return self.bad / self.total if self.total else 0.0


# Beta priors of the open shares. Stable's leans to none, which is what a stable version mostly shows; being wrong
# about that costs evidence, never validity.
_CANARY = (0.5, 0.5)
_STABLE = (0.1, 1.0)


def evidence(canary: Count, stable: Count, tolerance: float) -> float:
    """Return the log of the e-value against "the canary's share is at most stable's plus `tolerance`".

    Zero or less is no evidence. `evidence_above` is for when there is no stable to compare with.
    """
    if canary.share <= min(1.0, stable.share + tolerance):
        return 0.0
    low = _closest_null(canary, stable, tolerance)
    null = _log_likelihood(canary, low + tolerance) + _log_likelihood(stable, low)
    return _log_mixture(canary, _CANARY) + _log_mixture(stable, _STABLE) - null


def evidence_above(count: Count, limit: float) -> float:
    """Return the log of the e-value against "the share is at most `limit`"."""
    if count.share <= limit:
        return 0.0
    return _log_mixture(count, _CANARY) - _log_likelihood(count, limit)


_HALVINGS = 20  # the likelihood is flat at its peak: being right to a millionth is plenty


def _closest_null(canary: Count, stable: Count, tolerance: float) -> float:
    """Return the share of stable under which the counts are likeliest if the canary's is that plus the tolerance.

    The likelihood has one peak in it, between what stable shows and what the canary shows: bisect on its slope.
    """
    low, high = stable.share, canary.share - tolerance
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(canary, middle + tolerance) + _slope(stable, middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _slope(count: Count, share: float) -> float:
    if not 0 < share < 1:
        return inf if share <= 0 else -inf
    return count.bad / share - (count.total - count.bad) / (1 - share)


def _log_likelihood(count: Count, share: float) -> float:
    good = count.total - count.bad
    if (count.bad and share <= 0) or (good and share >= 1):
        return -inf
    return (count.bad * log(share) if count.bad else 0.0) + (good * log(1 - share) if good else 0.0)


def _log_mixture(count: Count, prior: tuple[float, float]) -> float:
    a, b = prior
    return _log_beta(a + count.bad, b + count.total - count.bad) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
