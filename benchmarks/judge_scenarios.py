"""What is simulated: kinds of endpoints and canaries, how many rollouts of each, and what the right end would be."""

from dataclasses import dataclass, field

from benchmarks.judge_world import DAY, Side, World
from chalicelib.domain.rollout import OnInconclusive, Plan

HOUR = 3600.0

# As the median is 60 ms and sigma 0.5, the p95 is 137 ms. A tenth of the requests, 4.5 times as slow, doubles it and
# leaves the median where it was.
SLOW_TAIL = Side(slow=0.1, times=4.5)
HEAVY = 1.5  # sigma: the p95 is 12 times the median


@dataclass(frozen=True)
class Scenario:
    """One kind of rollout; `group` says which goal it counts for, and so how it should end."""

    group: str
    name: str
    world: World
    rollouts: int
    horizon: float = 2 * HOUR
    plan: Plan = field(default_factory=Plan)


def _both(side: Side, rate: float = 10.0, swing: float = 0.0) -> World:
    return World(side, side, rate, swing)


_RARE = 3 / HOUR
_ABORT = Plan(on_inconclusive=OnInconclusive.ABORT)

EQUAL, ERRORS, FEW_ERRORS, HALF, SLOW, RARE = "equal", "errors", "few errors", "half", "slow", "rare"

# How the rollouts of a group should end.
RIGHT = {EQUAL: "promoted", RARE: "held or aborted"} | dict.fromkeys((ERRORS, FEW_ERRORS, HALF, SLOW), "rolled back")

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(EQUAL, "equal, no errors", _both(Side()), 300),
    Scenario(EQUAL, "equal, 5 % errors each", _both(Side(errors=0.05)), 300),
    Scenario(EQUAL, "equal, heavy-tailed latency", _both(Side(sigma=HEAVY)), 200),
    Scenario(EQUAL, "equal, 5 % hang on each", _both(Side(slow=0.05, times=30.0)), 150),
    Scenario(EQUAL, "equal, 1 request/s", _both(Side(errors=0.01), 1.0), 100, DAY),
    Scenario(EQUAL, "equal, 1 request/s by day, few by night", _both(Side(), 1.0, 0.95), 100, DAY),
    Scenario(ERRORS, "5 % errors against none", World(Side(errors=0.05)), 300),
    Scenario(FEW_ERRORS, "5 % errors against none, 1 request/s", World(Side(errors=0.05), rate=1.0), 100, DAY),
    Scenario(HALF, "50 % errors against none", World(Side(errors=0.5)), 1000),
    Scenario(HALF, "50 % errors against none, 1 request/s", World(Side(errors=0.5), rate=1.0), 500, DAY),
    Scenario(SLOW, "all latencies doubled", World(Side(median_ms=120.0)), 200),
    Scenario(SLOW, "p95 doubled, p50 as it was", World(SLOW_TAIL), 100, 6 * HOUR),
    Scenario(
        SLOW, "all doubled, heavy-tailed", World(Side(median_ms=120.0, sigma=HEAVY), Side(sigma=HEAVY)), 100, 6 * HOUR
    ),
    Scenario(RARE, "3 requests/h, equal", _both(Side(), _RARE), 100, 10 * DAY),
    Scenario(RARE, "3 requests/h, equal, policy abort", _both(Side(), _RARE), 100, 10 * DAY, _ABORT),
    Scenario(RARE, "3 requests/h, 5 % errors", World(Side(errors=0.05), rate=_RARE), 100, 10 * DAY),
)
