"""Whether callers get what the split says: keys whose deployment is known beforehand, and who answered each.

A key's place in the split depends on nothing but the key and the rollout, so two keys next to a border say whether the
border lies where it was put: no share has to be guessed from who happened to call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chalicelib.domain.split import Split, assign, bucket

_KEYS = 2000  # so that some lie well within a percent of any border


@dataclass(frozen=True)
class Served:
    """Who answers a key: the deployment, and the digest that its replica computed from the files it loaded."""

    deployment: str
    digest: str


@dataclass(frozen=True)
class Asked:
    """A key, its place in the split in percent, the deployment that should answer it, and who does; None: nobody."""

    key: str
    place: float
    deployment: str
    served: Served | None = None


def to_ask(split: Split) -> Sequence[Asked]:
    """Return of each deployment's callers those nearest to its borders: the lowest and the highest."""
    found: dict[str, list[Asked]] = {}
    for place, key in _placed(split.salt) if split.weights else ():
        deployment = assign(split, place)
        found.setdefault(deployment, []).append(Asked(key, place, deployment))
    return [asked for callers in found.values() for asked in dict.fromkeys((callers[0], callers[-1]))]


@lru_cache(maxsize=64)
def _placed(salt: str) -> Sequence[tuple[float, str]]:
    keys = (f"modeldrop-proof-{n}" for n in range(_KEYS))
    return sorted((bucket(key, salt), key) for key in keys)


def contradiction(answers: Sequence[Asked], registered: Mapping[str, str]) -> str:
    """Return what isn't as it was asked, by what was answered; "" when nothing is. `registered` are the digests."""
    return next((wrong for asked in answers if (wrong := _wrong(asked, registered))), "")


def is_whole(answers: Sequence[Asked]) -> bool:
    """Tell whether every key was answered; nobody is asked where there is no such place."""
    return all(asked.served for asked in answers)


def _wrong(asked: Asked, registered: Mapping[str, str]) -> str:
    served = asked.served
    if served is None:
        return ""
    if served.deployment != asked.deployment:
        return f"callers at {asked.place:.1f} % are answered by {served.deployment}, not by {asked.deployment}"
    digest = registered.get(served.deployment, "")
    if served.digest and digest and served.digest != digest:
        return f"{served.deployment} answers with digest {served.digest}, not the registered {digest}"
    return ""
