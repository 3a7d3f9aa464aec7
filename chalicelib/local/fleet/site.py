"""What all replicas of a fleet share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chalicelib.domain.deploy import Bounds
from chalicelib.local.fleet.container_engine import Engine
from chalicelib.local.fleet.sandbox import Host, Walls


@dataclass(frozen=True)
class Containers:
    """How this platform runs containers."""

    engine: Engine
    prefix: str  # of their names
    bounds: Bounds  # which images a drop may name
    serving: Mapping[str, str]  # the serving images by framework; none: versions of our formats run as processes


@dataclass(frozen=True)
class Site:
    walls: Walls
    host: Host
    runtime: Path
    server: tuple[str, ...]
    server_path: Path
    threads: int
    gpu: Mapping[str, str]
    drain_s: float  # from SIGTERM to SIGKILL
    containers: Containers | None = None
