"""What is seen of a canary, as claims and in words, for the reasons that a rollout gives."""

from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.rollout import Rollout


def is_other(rollout: Rollout, canary: Running) -> bool:
    """Tell whether it answers with another digest; one that it hasn't said yet is awaited."""
    return canary.state is FleetState.READY and canary.digest not in {"", rollout.canary.digest}


def other_digest(rollout: Rollout, canary: Running) -> str:
    return f"the canary serves digest {canary.digest}, not the registered {rollout.canary.digest}"


def crash(canary: Running) -> str:
    return f"the canary exited {canary.restarts} times unasked" + (f": {canary.reason}" if canary.reason else "")


def state(running: Running) -> str:
    return f"{running.state}: {running.reason}" if running.reason else str(running.state)
