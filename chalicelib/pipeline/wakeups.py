"""The names of wake-ups: each only says "look again", at an upload, an acceptance or an endpoint."""

from datetime import timedelta

from chalicelib.pipeline.ports import Ports

LOOK = "look:"  # and the prefix of an upload
REGISTER = "register:"  # and the prefix of an accepted upload
ADVANCE = "advance:"  # and the name of an endpoint


def wake_upload(prefix: str, ports: Ports, *, after: timedelta = timedelta(0)) -> None:
    """Look at an upload again; the earlier of two moments counts."""
    ports.timers.set(LOOK + prefix, ports.clock() + after)


def wake_registration(prefix: str, ports: Ports) -> None:
    """Register an upload that was accepted; a repeat registers nothing twice."""
    ports.timers.set(REGISTER + prefix, ports.clock())


def wake_endpoint(name: str, ports: Ports, *, after: timedelta = timedelta(0)) -> None:
    """Look at an endpoint's rollout again; the earlier of two moments counts."""
    ports.timers.set(ADVANCE + name, ports.clock() + after)
