"""The names of wake-ups: each only says "look again", at an upload or at an endpoint."""

from datetime import timedelta

from chalicelib.pipeline.ports import Ports

LOOK = "look:"
ADVANCE = "advance:"
# While a rollout is open its endpoint is looked at this often, whatever else may wake it.
PACE = timedelta(seconds=0.5)


def wake_upload(prefix: str, ports: Ports, *, after: timedelta = timedelta(0)) -> None:
    """Look at an upload again; a later call moves the timer."""
    ports.timers.set(LOOK + prefix, ports.clock() + after)


def wake_endpoint(name: str, ports: Ports, *, after: timedelta = timedelta(0)) -> None:
    """Look at an endpoint's rollout again; a later call moves the timer."""
    ports.timers.set(ADVANCE + name, ports.clock() + after)
