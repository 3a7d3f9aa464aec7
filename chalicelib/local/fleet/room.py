"""Whether a machine has room for a deployment: told before stable would have to pay for one that has none."""

import psutil

_MB = 2**20
_KEPT = 0.05  # of what is free: a machine that is full to the last page stalls everybody


def free_mb() -> float:
    """Return the memory that can be had without swapping."""
    return psutil.virtual_memory().available / _MB


def lacks(replicas: int, replica_mb: float, free: float) -> str:
    """Say what there isn't for so many replicas of a known size; of an unknown size, 0, nothing is said."""
    needed = replicas * replica_mb
    if needed <= free * (1 - _KEPT):
        return ""
    return (
        f"{replicas} replicas like those that run take {needed:.0f} MB of memory, and {free:.0f} MB are free; "
        "free some, or let stable make room with `placement: recreate`"
    )
