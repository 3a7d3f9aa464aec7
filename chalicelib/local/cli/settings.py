"""What the global options said, and the platform that they mean."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.home import Home

# Every command has it.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@dataclass(frozen=True)
class Connection:
    """How to reach a platform; `up` writes it as home.connection. `ca` is a PEM file, "" for the system's own CAs."""

    url: str
    key: str
    ca: str = ""


@dataclass(frozen=True)
class Settings:
    home: Home
    url: str = ""
    key: str = ""
    ca: Path | None = None

    @property
    def connection(self) -> Connection:
        """Return the platform that is meant: the named one, else the one of this home; raises Ended."""
        if self.url and not self.key:
            raise Ended(Status.USAGE, "--url needs --key (or MODELDROP_KEY)")
        if self.url:
            return Connection(url=self.url, ca=str(self.ca or ""), key=self.key)
        found = _read(self.home.connection)
        return replace(found, key=self.key or found.key, ca=str(self.ca or found.ca))


def _read(path: Path) -> Connection:
    try:
        found = json.loads(path.read_bytes())
        return Connection(str(found["url"]), str(found["key"]), str(found["ca"]))
    except FileNotFoundError:
        message = f"no platform was started here ({path} is missing): run `modeldrop up`, or give --url and --key"
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} can't be read ({error}): run `modeldrop up` again, or give --url and --key"
    raise Ended(Status.UNREACHABLE, message)
