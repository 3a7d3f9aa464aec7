"""Where one machine tells its transitions: a file that keeps them, and the operator's terminal."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from chalicelib.domain.transition import Transition
from chalicelib.pipeline.records import to_json


class LocalBus:
    """`pipeline.ports.Bus`: one JSON line for each transition, appended to a file, and a line for people."""

    def __init__(self, path: Path, show: Callable[[str], None]) -> None:
        self._path = path
        self._show = show

    def publish(self, transitions: Sequence[Transition]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(to_json(t)) + "\n" for t in transitions)
        for t in transitions:
            self._show(f"{t.at.astimezone():%H:%M:%S}  {t.kind:<20} {t.subject}: {t.message}")
