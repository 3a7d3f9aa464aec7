"""Where one machine tells its transitions: a file that keeps them, the operator's terminal, and webhooks."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chalicelib.domain.transition import Transition
from chalicelib.pipeline.deliveries import hand_out
from chalicelib.pipeline.ports import Bus, Clock, Registry
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


@dataclass(frozen=True)
class WebhookBus:
    """`pipeline.ports.Bus`: a delivery for each webhook is kept, and somebody else sends it; nobody is waited for."""

    registry: Registry
    clock: Clock
    on_new: Callable[[], None]

    def publish(self, transitions: Sequence[Transition]) -> None:
        if hand_out(transitions, self.registry, self.clock()):
            self.on_new()


@dataclass(frozen=True)
class Buses:
    """`pipeline.ports.Bus`: several, told one after another."""

    buses: Sequence[Bus]

    def publish(self, transitions: Sequence[Transition]) -> None:
        for bus in self.buses:
            bus.publish(transitions)
