"""`deploy.yaml`: what a drop wishes, held within what the operator allows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """What the operator allows; a wish past a bound is Rejected."""

    max_replicas: int = 4
    max_memory_mb: int = 65536
    environment_names: tuple[str, ...] = ()
