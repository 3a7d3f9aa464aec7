"""`logs`: what replicas print, read from the home of the platform on this machine."""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import print_json
from chalicelib.local.cli.settings import AsJson, Settings

_POLL = 0.25  # seconds between two looks at the files


@dataclass
class Tail:
    """One replica's log, read on from where the last look ended."""

    path: Path
    at: int = 0

    def new_lines(self) -> list[str]:
        """Return the whole lines written since; begins anew when the file was set aside for being full."""
        if not self.path.exists():
            return []
        if self.path.stat().st_size < self.at:
            self.at = 0
        with self.path.open("rb") as file:
            file.seek(self.at)
            block = file.read()
        whole = block[: block.rfind(b"\n") + 1]
        self.at += len(whole)
        return whole.decode(errors="replace").splitlines()


def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="DEPLOYMENT|ENDPOINT")],
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is printed from now on.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Newest lines of each replica.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show what a deployment's replicas printed; of an endpoint, all its deployments'."""
    settings: Settings = context.obj
    wanted = _deployments(name, settings)
    tails: dict[Path, Tail] = {}
    for replica, line in _newest(_found(wanted, tails, settings), lines):
        _show(replica, line, as_json=as_json)
    if not tails and not follow:
        raise Ended(Status.NO, f"{', '.join(wanted)}: no log in {settings.home.logs}")
    while follow:
        for tail in _found(wanted, tails, settings):
            for line in tail.new_lines():
                _show(tail.path.stem, line, as_json=as_json)
        time.sleep(_POLL)


def _deployments(name: str, settings: Settings) -> Sequence[str]:
    """Return the deployments that a name means: itself when it has logs, else those of the endpoint."""
    if _files(name, settings):
        return [name]
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(settings) as platform:
        return list(platform.get(f"/v1/endpoints/{name}")["deployments"])


def _files(deployment: str, settings: Settings) -> list[Path]:
    return sorted(path for path in settings.home.logs.glob("*.log") if path.stem.rpartition("-")[0] == deployment)


def _found(wanted: Sequence[str], tails: dict[Path, Tail], settings: Settings) -> list[Tail]:
    """Return the logs that there are now; replicas come and go."""
    for path in (path for deployment in wanted for path in _files(deployment, settings)):
        tails.setdefault(path, Tail(path))
    return list(tails.values())


def _newest(tails: Sequence[Tail], count: int) -> Iterator[tuple[str, str]]:
    for tail in tails:
        yield from ((tail.path.stem, line) for line in deque(tail.new_lines(), maxlen=count))


def _show(replica: str, line: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"replica": replica, "line": line})
    else:
        print(f"{replica}  {line}", flush=True)
        sys.stdout.flush()
