"""One work on all its servers: each is started alone, checked, then all take turns under load, the others frozen."""

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gateway_load import Seen, Target, load, middle
from benchmarks.serving_process import Memory, NotStarted, Running, ask
from benchmarks.serving_servers import Place, Server
from benchmarks.serving_work import CONNECTIONS, Sample, Work, answer_of, body, content_type, is_right, samples

FAILED = (NotStarted, OSError, subprocess.SubprocessError)
CHECKS = 32  # requests of every sample, eight at a time, before anything is timed


@dataclass(frozen=True, slots=True)
class Length:
    """How long is measured."""

    rounds: int
    seconds: float
    connections: Sequence[int]
    warm_up: float = 1.0


FULL = Length(rounds=3, seconds=2, connections=CONNECTIONS)
QUICK = Length(rounds=1, seconds=2, connections=(8,))


@dataclass(slots=True)
class Measured:
    """What was seen of one server at one work; `error` is why it was not."""

    work: str
    server: str
    error: str = ""
    started_s: float | None = None
    memory: Memory | None = None
    rounds: dict[int, list[Seen]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.work:8} {self.server:26}"

    def as_json(self) -> dict[str, Any]:
        cells = {
            str(c): asdict(middle(seen)) | {"rounds": [asdict(s) for s in seen]} for c, seen in self.rounds.items()
        }
        memory = asdict(self.memory) if self.memory else None
        return {
            "work": self.work,
            "server": self.server,
            "error": self.error,
            "started_s": self.started_s,
            "memory": memory,
            "cells": cells,
        }


@dataclass(slots=True)
class Entrant:
    """A server that runs, with what it is asked."""

    server: Server
    port: int
    samples: list[Sample]
    running: Running
    measured: Measured

    def target(self) -> Target:
        url = f"http://127.0.0.1:{self.port}{self.server.path}"
        given = body(self.server.contract, self.samples[0].instances)
        return Target(url, given, {"Content-Type": content_type(self.server.contract)})

    def answers_right(self, number: int) -> bool:
        """Ask one sample and compare the answer with the raw forward's."""
        sample, contract = self.samples[number % len(self.samples)], self.server.contract
        status, answer = ask(self.port, self.server.path, body(contract, sample.instances), content_type(contract))
        if status != 200 or not self.server.has_model:
            return status == 200
        try:
            return is_right(answer_of(contract, answer), sample.expected)
        except (ValueError, KeyError, TypeError, IndexError):
            return False

    def check(self) -> None:
        """Raise NotStarted unless every answer is right, also of requests that arrive together."""
        with ThreadPoolExecutor(8) as pool:
            wrong = list(pool.map(self.answers_right, range(CHECKS))).count(False)
        if wrong:
            raise NotStarted(f"{wrong} of {CHECKS} answers differ from the raw forward's")


def compare(work: Work, servers: Sequence[Server], models: Path, scratch: Path, length: Length) -> list[Measured]:
    """Measure a work on all servers; one that fails to start is told, not fatal."""
    asked = samples(work, models)
    with ExitStack() as stack:
        entrants: list[Entrant] = []
        measured: list[Measured] = []
        for number, server in enumerate(servers):
            one = Measured(work.name, server.name)
            measured.append(one)
            try:
                entrants.append(_entered(work, server, Place(models, scratch / f"{work.name}-{number}"), one, asked))
                stack.callback(entrants[-1].running.stop)
            except FAILED as error:
                one.error = str(error)
                print(f"{one.label} NOT MEASURED: {error}", flush=True)
        _take_turns(entrants, length)
    return measured


def _entered(work: Work, server: Server, place: Place, measured: Measured, asked: list[Sample]) -> Entrant:
    """Start a server while all others are frozen, check it, and freeze it."""
    place.scratch.mkdir(parents=True)
    running = Running(server.command(work, place), place.scratch / "output.txt")
    entrant = Entrant(server, place.port, asked, running, measured)
    try:
        measured.started_s = round(running.until_right(lambda: entrant.answers_right(0)), 3)
        entrant.check()
    except FAILED:
        running.stop()
        raise
    print(f"{measured.label} right answers after {measured.started_s:.1f} s", flush=True)
    running.settle()
    running.freeze()
    return entrant


def _take_turns(entrants: Sequence[Entrant], length: Length) -> None:
    for turn in range(length.rounds):
        # Each round begins with another, so that none is always behind the same.
        for entrant in [*entrants[turn:], *entrants[:turn]]:
            entrant.running.thaw()
            _round(entrant, length)
            entrant.running.freeze()


def _round(entrant: Entrant, length: Length) -> None:
    target, measured = entrant.target(), entrant.measured
    load(target, connections=8, seconds=length.warm_up)
    # What is no contestant is shown at one load only, or a whole run would take too long.
    is_rival = entrant.server.role in ("ours", "peer")
    for connections in length.connections if is_rival else (8,):
        seen = load(target, connections=connections, seconds=length.seconds)
        measured.rounds.setdefault(connections, []).append(seen)
        void = f" VOID: {dict(seen.errors)}" if seen.errors else ""
        print(
            f"{measured.label} {connections:3} connections {seen.rate:9.1f}/s"
            f"  p50 {seen.p50_ms:8.2f}  p99 {seen.p99_ms:8.2f} ms{void}",
            flush=True,
        )
    measured.memory = entrant.running.memory()


def in_process(python: str, *arguments: str) -> Any:
    """Run one of the scripts that load a framework; return the JSON of its last line."""
    ended = subprocess.run([python, *arguments], capture_output=True, text=True, check=True)
    last = ended.stdout.strip().rpartition("\n")[2]
    return json.loads(last) if last else None
