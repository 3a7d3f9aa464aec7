"""Takes each rollout's next step and keeps the fleet as the endpoints say: fed by timers and the fleet's events."""

from chalicelib import triggers
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.dividing import divide
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.tend import tend
from chalicelib.pipeline.wakeups import ADVANCE


def advance_and_tend(endpoint: str, ports: Ports) -> None:
    advance(endpoint, ports)
    divide(endpoint, ports)
    tend(endpoint, ports)


handler = triggers.QueueFed(
    "advance", {ADVANCE: advance_and_tend}, queue=lambda told: told.rollouts_queue_url
).handler()
