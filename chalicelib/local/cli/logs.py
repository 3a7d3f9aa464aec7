"""`logs`: what replicas print, read from the home of the platform on this machine."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
    """One replica's log, read on from where the last look ended. A full log is set aside as `.1` and begun anew."""

    path: Path
    at: int = 0
    inode: int = 0  # of the file that `at` is a place in

    def kept_lines(self) -> list[str]:
        """Return what was set aside before the first look."""
        return _lines(_read(self._aside, 0))

    def new_lines(self) -> list[str]:
        """Return the whole lines written since the last look."""
        before = b""
        if self.path.exists() and self.path.stat().st_ino != self.inode:
            before = _read(self._aside, self.at) if self.inode else b""
            self.at, self.inode = 0, self.path.stat().st_ino
        block = _read(self.path, self.at)
        whole = block[: block.rfind(b"\n") + 1]
        self.at += len(whole)
        return _lines(before + whole)

    @property
    def _aside(self) -> Path:
        return self.path.with_name(self.path.name + ".1")


def _read(path: Path, start: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""


def _lines(block: bytes) -> list[str]:
    return block.decode(errors="replace").splitlines()


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
    with suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_POLL)
            for tail in _found(wanted, tails, settings):
                for line in tail.new_lines():
                    _show(tail.path.stem, line, as_json=as_json)


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
        yield from ((tail.path.stem, line) for line in deque([*tail.kept_lines(), *tail.new_lines()], maxlen=count))


def _show(replica: str, line: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"replica": replica, "line": line})
    else:
        print(f"{replica}  {line}", flush=True)
