"""Who answers a request: whole-percent weights of an endpoint's deployments, and the assignment of a key."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.domain.errors import Rejected

WHOLE = 100  # percent


@dataclass(frozen=True)
class Split:
    """Weights by deployment id, whole percents that sum to 100; `salt` (the rollout's id) keeps keys sticky.

    Insertion order matters: the first deployment is stable, the second the canary.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    salt: str = ""

    def __post_init__(self) -> None:
        weights = self.weights.values()
        if weights and (sum(weights) != WHOLE or min(weights) < 0):
            raise Rejected(f"weights {dict(self.weights)} don't sum to 100; give whole percents", code="bad_split")

    @classmethod
    def between(cls, stable: str, canary: str, weight: int, salt: str) -> "Split":
        """Give `weight` percent to the canary and the rest to stable."""
        return cls({stable: WHOLE - weight, canary: weight}, salt)


def bucket(key: str, salt: str) -> float:
    """Return a number in [0, 100) that depends on nothing but the key and the rollout."""
    digest = hashlib.blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 * WHOLE


def assign(split: Split, position: float) -> str:
    """Return the deployment that answers at `position` in [0, 100).

    The canary stands last and takes the low positions, so a key that it has stays with it while its weight grows
    and goes back to stable at once when the weight falls to zero.
    """
    edge = 0.0
    chosen = ""
    for deployment, weight in reversed(list(split.weights.items())):
        edge += weight
        chosen = deployment
        if position < edge:
            break
    return chosen


def choose(split: Split, key: str, chance: float) -> tuple[str, str]:
    """Return the deployment that answers, and the one that stands in when it can't ("" for none).

    A key sticks; without one `chance`, a random number in [0, 1), decides. Stable stands in for a canary, never the
    other way round.
    """
    if len(split.weights) == 1:
        return next(iter(split.weights)), ""
    chosen = assign(split, bucket(key, split.salt) if key else chance * WHOLE)
    stable = next(iter(split.weights))
    return chosen, stable if chosen != stable else ""
