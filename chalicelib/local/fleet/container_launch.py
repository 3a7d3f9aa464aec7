"""A version as a container: of the serving image, or of the image that its own container.yaml names.

Either is a replica like any other, on a Unix socket in its cell. The serving image listens there itself; before any
other stands a process of ours, the front.
"""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chalicelib.domain.deployment import Deployment
from chalicelib.domain.errors import Rejected
from chalicelib.domain.formats.container_yaml import FILE, Container, read_container
from chalicelib.domain.image_bounds import hold
from chalicelib.local.fleet.container_contract import told
from chalicelib.local.fleet.container_engine import wall_flags
from chalicelib.local.fleet.container_front import Orders
from chalicelib.local.fleet.container_process import ContainerProcess
from chalicelib.local.fleet.environment import DEFAULTS, server_environment
from chalicelib.local.fleet.launch import Launch, ProcessLaunch
from chalicelib.local.fleet.sandbox import FULL, Cell, Walls
from chalicelib.local.fleet.site import Containers, Site

_MODEL = "/opt/ml/model"
_SOCKETS = "/modeldrop"
_TENSORFLOW, _PYTORCH = "tensorflow", "pytorch"
NOT_RUN = "this platform runs no containers: its operator allows no image, in `images` of the bounds"


def launch_of(site: Site, deployment: Deployment, model: Path, *, is_wanted: Callable[[], bool]) -> Launch:
    """Return how the replicas of a fetched version are started. Blocks while an image is fetched.

    Raises Rejected, and Abandoned when `is_wanted` turns false.
    """
    if (model / FILE).exists():
        return _custom(site, deployment, model, is_wanted)
    if site.containers and site.containers.serving:
        framework = _TENSORFLOW if (model / "saved_model.pb").exists() else _PYTORCH
        image = site.containers.engine.resolve(site.containers.serving[framework], is_wanted)
        return ServingLaunch(site, site.containers, deployment, image)
    return ProcessLaunch(site, deployment)


def _custom(site: Site, deployment: Deployment, model: Path, is_wanted: Callable[[], bool]) -> "CustomLaunch":
    """Hold it within the bounds once more: they may have been drawn closer since it was dropped."""
    if not site.containers:
        raise Rejected(NOT_RUN, code="past_bound")
    container = read_container((model / FILE).read_bytes())
    hold(container, site.containers.bounds)
    _must_fit(container, deployment, site.containers)
    image = site.containers.engine.resolve(container.image, is_wanted)
    return CustomLaunch(site.containers, deployment, image, container)


def _must_fit(container: Container, deployment: Deployment, containers: Containers) -> None:
    """Refuse two on one port, where containers share this machine's network and none can be told another."""
    if not containers.engine.own_network and not container.terms.port_name and deployment.resources.replicas > 1:
        raise Rejected(f"{_one_port(container)}; wish for one replica", code="port_taken")


def _one_port(container: Container) -> str:
    return (
        f"containers share this machine's network here, and contract {container.contract} has no variable to tell a "
        f"container another port than {container.port}"
    )


@dataclass(frozen=True)
class ServingLaunch:
    """Starts the serving image."""

    site: Site
    containers: Containers
    deployment: Deployment
    image: str
    walls: Walls = FULL

    def start(self, cell: Cell) -> ContainerProcess:
        environment = {
            **DEFAULTS,
            **self.deployment.resources.environment,
            **server_environment(
                self.deployment,
                model=Path(_MODEL),
                socket=Path(_SOCKETS, cell.socket.name),
                threads=self.site.threads,
                drain_s=self.site.drain_s,
            ),
        }
        mounts = [f"--volume={cell.model}:{_MODEL}:ro", f"--volume={cell.socket.parent}:{_SOCKETS}:rw"]
        return _start(self, cell, [*mounts, *_variables(environment), self.image])


@dataclass(frozen=True)
class CustomLaunch:
    """Starts a container of somebody else's, and the front before it."""

    containers: Containers
    deployment: Deployment
    image: str
    container: Container
    walls: Walls = FULL

    def start(self, cell: Cell) -> ContainerProcess:
        port = self._port()
        said = told(self.container, port, self.deployment.resources.environment)
        entrypoint = [f"--entrypoint={said.command[0]}"] if said.command else []
        mounts = [f"--volume={cell.model}:{self.container.terms.model}:ro"]
        words = [*mounts, *entrypoint, *_variables(said.environment), self.image, *said.command[1:], *said.args]
        return _start(self, cell, words, self._orders(cell, port))

    def _port(self) -> int:
        """Return the port that it is told to listen on: its own, where it has a network of its own."""
        if self.containers.engine.own_network:
            return self.container.port
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", 0 if self.container.terms.port_name else self.container.port))
            except OSError as taken:
                raise Rejected(f"{_one_port(self.container)}, which is taken: {taken}", code="port_taken") from taken
            return int(probe.getsockname()[1])

    def _orders(self, cell: Cell, port: int) -> Orders:
        return Orders(
            parent=os.getpid(),
            socket=cell.socket,
            uid=cell.uid,
            pid=0,
            port=port,
            health_route=self.container.health_route,
            predict_route=self.container.predict_route,
            digest=self.deployment.digest,
        )


def _start(
    launch: ServingLaunch | CustomLaunch, cell: Cell, words: list[str], orders: Orders | None = None
) -> ContainerProcess:
    engine = launch.containers.engine
    walls = wall_flags(engine, uid=cell.uid, memory_mb=launch.deployment.resources.memory_mb)
    name = f"{launch.containers.prefix}{launch.deployment.id}-{cell.number}"
    return ContainerProcess.start(
        engine, cell, name=name, run=["run", "--rm", f"--name={name}", *walls, *words], orders=orders
    )


def _variables(environment: Mapping[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in environment.items()]
