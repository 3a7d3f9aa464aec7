"""Synthetic requests: what a step without enough evidence is asked with, the same of both sides, and what it says.

They are compared with each other only: a request that was made up is no sample of what callers send, nor is the time
that it takes.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from chalicelib.domain.traffic import EDGES_MS, Traffic, request

LEAST, MOST = 60, 500  # requests to each side: the p95 needs as many as the first
_ROWS = 20  # different ones that are made from a schema


class SyntheticUse(StrEnum):
    """What synthetic requests may decide, after the extensions and before `on_inconclusive`."""

    FAIL = "fail"  # they can end a canary, and never pass a step
    JUDGE = "judge"  # they count: a step may pass by them
    OFF = "off"  # none are made


@dataclass(frozen=True)
class Synthetic:
    """How far a step's synthetic requests are; `origin` says where they come from."""

    origin: str
    asked: int = 0  # of each side
    canary: Traffic = field(default_factory=Traffic)
    stable: Traffic = field(default_factory=Traffic)
    is_done: bool = False
    reason: str = ""  # why there are fewer than there should be

    @property
    def anew(self) -> "Synthetic":
        """What it is for the next step."""
        return Synthetic(self.origin)


def how_many(min_requests: int) -> int:
    """Return how many requests each side gets to be judged by."""
    return max(LEAST, min(MOST, min_requests))


def answered(synthetic: Synthetic, canary: Traffic, stable: Traffic, *, of: int) -> Synthetic:
    """Return it with one more request to each side."""
    asked = synthetic.asked + 1
    return replace(
        synthetic,
        asked=asked,
        canary=synthetic.canary + canary,
        stable=synthetic.stable + stable,
        is_done=asked >= of,
    )


def one(status: int, milliseconds: float, *, nonfinite: bool, marks: Mapping[str, int]) -> Traffic:
    """Return the traffic that one answer is; a status of 502 or 504 stands for no answer."""
    counted = request(status, milliseconds, nonfinite=nonfinite)
    latencies = tuple(int(at == counted.latency) for at in range(len(EDGES_MS) + 1))
    return Traffic(1, int(counted.error), int(counted.rejected), int(counted.nonfinite), latencies, marks)


# --- from a schema -----------------------------------------------------------------------------------------------
def from_schema(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return requests that a schema of inputs describes, the same each time; none for one without inputs."""
    inputs = schema.get("inputs")
    if not isinstance(inputs, Mapping) or not inputs:
        return []
    draw = random.Random(0)  # noqa: S311 - values, not secrets
    return [{"instances": [_instance(inputs, draw)]} for _ in range(_ROWS)]


def _instance(inputs: Mapping[str, Any], draw: random.Random) -> Any:
    values = {name: _tensor(spec, draw) for name, spec in inputs.items()}
    return next(iter(values.values())) if len(values) == 1 else values


def _tensor(spec: Mapping[str, Any], draw: random.Random) -> Any:
    """Return one row of a tensor: the batch axis is left out, and a free one is one long."""
    shape = spec.get("shape") or []
    axes = [axis if isinstance(axis, int) and axis > 0 else 1 for axis in shape[1:]]
    values = _values(str(spec.get("dtype", "")).lower(), draw)
    return _shaped(axes, values)


def _shaped(axes: list[int], values: Iterator[Any]) -> Any:
    if not axes:
        return next(values)
    return [_shaped(axes[1:], values) for _ in range(axes[0])]


def _values(dtype: str, draw: random.Random) -> Iterator[Any]:
    while True:
        if "string" in dtype:
            yield draw.choice(("a", "b", "c d"))
        elif "bool" in dtype:
            yield draw.random() < 0.5  # noqa: PLR2004 - as often true
        elif "int" in dtype:
            yield draw.randrange(2)
        else:
            yield round(draw.random(), 4)
