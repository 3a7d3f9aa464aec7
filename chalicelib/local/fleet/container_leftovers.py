"""Containers that a killed platform left: nothing but their names and a note in the home leads to them."""

import json

from chalicelib.local.fleet.container_engine import Engine, prefix_of
from chalicelib.local.fleet.site import Containers
from chalicelib.local.home import Home

_NOTE = "containers.json"  # the engine that runs containers for this home


def sweep(home: Home, containers: Containers | None) -> None:
    """End what was left, and note which engine may leave something from now on."""
    note = home.root / _NOTE
    if note.exists():
        Engine(tuple(json.loads(note.read_text()))).sweep(prefix_of(home))
        note.unlink()
    if containers:
        note.write_text(json.dumps(containers.engine.command))
