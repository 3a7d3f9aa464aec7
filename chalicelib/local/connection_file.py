"""How the command line reaches the platform that runs in a home: URL, CA and an admin key. For its owner alone."""

import json
from pathlib import Path

from chalicelib.domain.errors import Rejected
from chalicelib.local.home import Home
from chalicelib.local.stores.seam import write_private
from chalicelib.pipeline.keys import authenticate, make_key
from chalicelib.pipeline.ports import Clock, Registry
from chalicelib.pipeline.records import ApiKey, Records


def make_connection(home: Home, registry: Registry, clock: Clock, *, url: str, ca: Path) -> None:
    """Write the connection file, with the admin key of the last time while that is still valid."""
    secret = _kept(home, registry)
    if not secret:
        _, secret = make_key(registry, clock, name="this machine's command line", scopes=["admin"])
    write_private(home.connection, json.dumps({"url": url, "ca": str(ca), "key": secret}, indent=1))


def _kept(home: Home, registry: Registry) -> str:
    """Return the key of an earlier start, "" when there is none that is valid."""
    try:
        secret = str(json.loads(home.connection.read_text())["key"])
        by_hash = {k.value.sha256: k.value for k in Records(registry).list(ApiKey)}
        authenticate(f"Bearer {secret}", by_hash.get)
    except (FileNotFoundError, ValueError, KeyError, Rejected):
        return ""
    return secret
