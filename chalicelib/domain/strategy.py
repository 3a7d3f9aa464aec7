"""How a canary gets its traffic: the named ways, the gates on the way, and what a newer version does meanwhile."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from chalicelib.domain.split import WHOLE


class Strategy(StrEnum):
    """Each is a row of steps. What has a step below 100 is judged there; what has none, while it bakes."""

    CANARY = "canary"  # any steps
    LINEAR = "linear"  # equal steps
    BLUE_GREEN = "blue_green"  # all traffic at once, judged while it bakes
    ALL_AT_ONCE = "all_at_once"  # all traffic at once, judged only if a bake is asked for


AT_ONCE = frozenset({Strategy.BLUE_GREEN, Strategy.ALL_AT_ONCE})
BLUE_GREEN_BAKE = timedelta(minutes=10)
LINEAR_BY = 10  # percent


class OnNewer(StrEnum):
    """What a newer version of the endpoint does to a rollout that is open."""

    SUPERSEDE = "supersede"  # takes its place at once
    QUEUE = "queue"  # waits for its end


class Placement(StrEnum):
    """Where a canary runs while stable does, for sites that have no room for both."""

    SURGE = "surge"  # beside stable, with room of its own
    CO_RESIDENT = "co_resident"  # beside stable, on the same devices
    RECREATE = "recreate"  # in stable's place: nothing answers meanwhile


@dataclass(frozen=True)
class Gate:
    """A step that isn't taken before somebody agrees: a person, or whom the operator named `ask`."""

    before: int  # percent
    timeout: timedelta | None = None  # then the rollout goes back; None waits for ever
    ask: str = ""  # a name of the operator's for a URL; "" asks nobody but people


def equal_steps(by: int) -> tuple[int, ...]:
    """Return the steps that grow by so many percent; the last is 100 and may be the smallest."""
    return (*range(by, WHOLE, by), WHOLE)
