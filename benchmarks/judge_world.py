"""Virtual traffic for the judge's simulation: when requests come, and what either side would answer.

A request carries its own luck: whatever the split makes of it, the same request fails or is slow by the same draw. So
each rule sees the same runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

DAY = 86_400.0
_BLOCK = 4096  # requests that are drawn at once

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """How a deployment answers: a share of errors, and latencies that are lognormal, some of them in a slow mode."""

    errors: float = 0.0
    median_ms: float = 60.0
    sigma: float = 0.5
    slow: float = 0.0  # share of requests that take `times` as long
    times: float = 1.0

    def failed(self, luck: Numbers) -> NDArray[np.bool_]:
        return luck < self.errors

    def milliseconds(self, normal: Numbers, uniform: Numbers) -> Numbers:
        base = self.median_ms * np.exp(self.sigma * normal)
        return np.where(uniform < self.slow, base * self.times, base)


@dataclass(frozen=True)
class World:
    """An endpoint under a rollout. `swing` is how far the rate goes up and down in a day."""

    canary: Side
    stable: Side = field(default_factory=Side)
    rate: float = 10.0  # requests a second
    swing: float = 0.0


@dataclass(frozen=True)
class Block:
    """Requests in the order of their coming; `position` in [0, 100) decides about the side."""

    at: Numbers
    position: Numbers
    canary_failed: NDArray[np.bool_]
    stable_failed: NDArray[np.bool_]
    canary_ms: Numbers
    stable_ms: Numbers


def requests(world: World, seed: int) -> Iterator[Block]:
    """Yield the requests of one run, without end."""
    rng = np.random.default_rng(seed)
    phase = rng.random() * DAY  # the hour at which the rollout begins
    now = 0.0
    while True:
        at, now = _arrivals(world, rng, now, phase)
        luck, normal, uniform = rng.random(len(at)), rng.standard_normal(len(at)), rng.random(len(at))
        yield Block(
            at,
            rng.random(len(at)) * 100,
            world.canary.failed(luck),
            world.stable.failed(luck),
            world.canary.milliseconds(normal, uniform),
            world.stable.milliseconds(normal, uniform),
        )


def _arrivals(world: World, rng: np.random.Generator, now: float, phase: float) -> tuple[Numbers, float]:
    """Return a block of a Poisson process' moments after `now`, and the moment up to which it goes."""
    fastest = world.rate * (1 + world.swing)
    at = now + np.cumsum(rng.exponential(1 / fastest, _BLOCK))
    if not world.swing:
        return at, float(at[-1])
    rate = world.rate * (1 + world.swing * np.sin((at + phase) * 2 * np.pi / DAY))
    return at[rng.random(_BLOCK) * fastest < rate], float(at[-1])


def until(world: World, seed: int, end: float) -> Block:
    """Return the same requests up to a moment, in one piece."""
    blocks: list[Block] = []
    for block in requests(world, seed):
        blocks.append(block)
        if len(block.at) and block.at[-1] > end:
            break
    whole = Block(*(np.concatenate([getattr(b, name) for b in blocks]) for name in Block.__dataclass_fields__))
    kept = whole.at <= end
    return Block(*(getattr(whole, name)[kept] for name in Block.__dataclass_fields__))
