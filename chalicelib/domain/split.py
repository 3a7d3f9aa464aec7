"""Who answers a request: whole-percent weights of an endpoint's deployments, and the assignment of a key."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from chalicelib.domain.errors import Rejected

WHOLE = 100  # percent


@dataclass(frozen=True)
class Split:
    """Weights by deployment id, whole percents that sum to 100; `salt` (the rollout's id) keeps keys sticky.

    Insertion order matters: the first deployment is stable, the second the canary. `ranges` says who has which percents
    of the keys, as widths from position 0 on; () where the order of the weights says it.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    salt: str = ""
    ranges: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        weights = self.weights.values()
        if self.ranges and Counter(_owners(self)) != {i: weight for i, weight in self.weights.items() if weight}:
            raise Rejected(f"ranges {self.ranges} aren't the weights {dict(self.weights)}", code="bad_split")
        if weights and (sum(weights) != WHOLE or min(weights) < 0):
            raise Rejected(f"weights {dict(self.weights)} don't sum to 100; give whole percents", code="bad_split")

    @classmethod
    def between(cls, stable: str, canary: str, weight: int, salt: str) -> "Split":
        """Give `weight` percent to the canary and the rest to stable."""
        return cls({stable: WHOLE - weight, canary: weight}, salt)


@dataclass(frozen=True)
class ManualSplit:
    """Weights by deployment id that a person asked for, kept until they are changed.

    `until` is by when its deployments have to be ready; those of `retry` had failed before and get another start. One
    that `ends` gives a single deployment all traffic, and promotes it.
    """

    id: str
    weights: Mapping[str, int]
    until: datetime
    ends: bool = False
    retry: tuple[str, ...] = ()


def rearranged(split: Split, weights: Mapping[str, int], salt: str) -> Split:
    """Return the split with other weights, in which no key moves but from a deployment that has less than before.

    While one deployment has all the keys none is stuck to anything: then `salt` draws anew who moves first.
    """
    wanted = Counter(weights)
    kept = [_taken(wanted, owner) for owner in _owners(split) or [""] * WHOLE]
    missing = wanted.elements()
    ranges = tuple((owner, len(list(run))) for owner, run in groupby(owner or next(missing) for owner in kept))
    is_stuck = len(set(_owners(split))) > 1
    return Split(weights, split.salt if is_stuck else salt, ranges)


def _owners(split: Split) -> list[str]:
    """Return who has each percent of the keys, from position 0 on."""
    return [deployment for deployment, width in _ranges(split) for _ in range(width)]


def _taken(wanted: Counter[str], owner: str) -> str:
    """Let an owner keep one more percent if it is to have any more; returns "" if not."""
    if wanted[owner] <= 0:
        return ""
    wanted[owner] -= 1
    return owner


def _ranges(split: Split) -> Sequence[tuple[str, int]]:
    """Return who has which part of the keys. The canary stands last and takes the low positions."""
    return split.ranges or list(split.weights.items())[::-1]


def bucket(key: str, salt: str) -> float:
    """Return a number in [0, 100) that depends on nothing but the key and the rollout."""
    digest = hashlib.blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 * WHOLE


def assign(split: Split, position: float) -> str:
    """Return the deployment that answers at `position` in [0, 100).

    A canary has the low positions, so a key that it has stays with it while its weight grows and goes back to stable
    at once when the weight falls to zero.
    """
    edge = 0.0
    chosen = ""
    for deployment, weight in _ranges(split):
        edge += weight
        chosen = deployment
        if position < edge:
            break
    return chosen


def choose(split: Split, key: str, chance: float) -> tuple[str, str]:
    """Return the deployment that answers, and the one that stands in when it can't ("" for none).

    A key sticks; without one `chance`, a random number in [0, 1), decides. Stable, the first, stands in for any other,
    never the other way round.
    """
    if len(split.weights) == 1:
        return next(iter(split.weights)), ""
    chosen = assign(split, bucket(key, split.salt) if key else chance * WHOLE)
    stable = next(iter(split.weights))
    return chosen, stable if chosen != stable else ""
