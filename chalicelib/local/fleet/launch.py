"""How one replica of a deployment is started: as a process behind walls of ours, or as a container."""

from dataclasses import dataclass
from typing import Protocol

from chalicelib.domain.deployment import Deployment
from chalicelib.local.fleet.environment import replica_environment
from chalicelib.local.fleet.logs import Log
from chalicelib.local.fleet.process import Process
from chalicelib.local.fleet.sandbox import Cell, Walls, scratch_of
from chalicelib.local.fleet.site import Site


class Started(Protocol):
    """A replica that was started. All is called on the fleet's loop, and nothing blocks it."""

    async def ended(self, log: Log) -> int:
        """Keep what it prints until it ends; return how it ended (negative: by that signal)."""
        ...

    def used_mb(self) -> float: ...

    def terminate(self) -> None:
        """Ask it to drain and end."""
        ...

    def kill(self) -> None: ...


class Launch(Protocol):
    """Starts replicas of one deployment, each in a cell of its own made for `walls`."""

    @property
    def walls(self) -> Walls: ...

    @property
    def image(self) -> str:
        """The id of the image that they run; "" for processes of this machine."""
        ...

    def start(self, cell: Cell) -> Started: ...


@dataclass(frozen=True)
class ProcessLaunch:
    """Starts the serving image's program as a process."""

    site: Site
    deployment: Deployment
    image: str = ""

    @property
    def walls(self) -> Walls:
        return self.site.walls

    def start(self, cell: Cell) -> Process:
        environment = replica_environment(
            self.deployment,
            model=cell.model,
            socket=cell.socket,
            scratch=scratch_of(self.site.walls, cell),
            server_path=self.site.server_path,
            threads=self.site.threads,
            gpu=self.site.gpu,
            drain_s=self.site.drain_s,
        )
        return Process.start(
            self.site.walls,
            cell,
            self.site.host,
            command=self.site.server,
            environment=environment,
            memory_mb=self.deployment.resources.memory_mb,
        )
