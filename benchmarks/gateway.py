"""What the gateway costs: `python benchmarks/gateway.py [--quick]`, run from the repository's root; needs wrk.

A real platform serves two models. Each is called through its gateway (TLS, key check, split, metrics and the judge's
counters), directly on the same serving program on TCP, and, the fast one, through a proxy of Starlette and httpx
before the very replica that the gateway calls. All are up during the whole run and take turns, round by round, so that
what is compared was measured within seconds.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "serving_image")]

from benchmarks import gateway_servers as servers  # noqa: E402
from benchmarks import serving_peers  # noqa: E402
from benchmarks.gateway_load import Seen, Target, load, middle  # noqa: E402
from benchmarks.serving_servers import Place, archive  # noqa: E402
from benchmarks.serving_work import WORKS, Work, body, samples  # noqa: E402
from benchmarks.validation import keep, machine, quiet_load  # noqa: E402
from tests.platform_world import platform  # noqa: E402

DIRECT, GATEWAY, PROXY = "direct", "gateway", "proxy"
MOST_ADDED_MS, MOST_ADDED_SHARE, LEAST_TIMES_PROXY = 0.4, 0.25, 3.0
STICKY = "user-17"  # every caller has one: the split hashes it


@dataclass(frozen=True)
class Cell:
    """One model at some connections, and what it is measured through."""

    work: str
    connections: int
    through: tuple[str, ...] = (DIRECT, GATEWAY)


ALL = (DIRECT, GATEWAY, PROXY)
CELLS = (
    *(Cell("w1", connections, ALL) for connections in (1, 8, 32)),
    *(Cell("w4", connections) for connections in (1, 8, 32)),
)


@dataclass(frozen=True)
class Length:
    rounds: int
    seconds: int


FULL, QUICK = Length(rounds=3, seconds=4), Length(rounds=1, seconds=1)


# --- measuring --------------------------------------------------------------------------------------------------------
def measure(length: Length) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="modeldrop-gateway-") as name, ExitStack() as stack:
        targets = stack.enter_context(_targets(Path(name)))
        for target in targets.values():
            load(target, connections=8, seconds=2)
        began_at = 0.0 if length == QUICK else quiet_load()
        rounds = [_round(targets, length, number) for number in range(length.rounds)]
    return {"load": began_at, "rounds": length.rounds, "seconds": length.seconds, "cells": _cells(rounds)}


@contextmanager
def _targets(folder: Path) -> Iterator[dict[tuple[str, str], Target]]:
    """Start everything; yield what to call, by model and by what it is called through."""
    works = {work.name: work for work in WORKS if work.name in {cell.work for cell in CELLS}}
    archives = _archives(works, folder)
    with ExitStack() as stack:
        _say("starting the platform")
        running = stack.enter_context(platform(folder / "home", store="embedded"))
        key = running.key(*(f"predict:{name}" for name in works))["key"]
        sockets, urls = {}, {}
        for name in works:
            _say(f"dropping {name}, and starting it once more on TCP")
            servers.promote(running, name, archives[name])
            like = servers.replica_of(running, name)
            sockets[name] = like["MODELDROP_UDS"]
            urls[name, DIRECT] = stack.enter_context(servers.direct(name, archives[name], like, folder))
            urls[name, GATEWAY] = f"{running.url}/v1/endpoints/{name}/predict"
        _say("starting the proxy")
        proxy = stack.enter_context(servers.proxy(running, sockets, key, folder))
        urls |= {(name, PROXY): f"{proxy}/v1/endpoints/{name}/predict" for name in works}
        yield {at: _target(url, works[at[0]], folder, at[1], key) for at, url in urls.items()}


def _archives(works: Mapping[str, Work], folder: Path) -> dict[str, Path]:
    """Build the models with the script that loads Torch; return the folder of each one's `.mar`."""
    _say("building the models")
    models = folder / "models"
    models.mkdir()
    script = str(ROOT / "benchmarks" / "serving_build.py")
    subprocess.run([sys.executable, script, "build", str(models)], check=True, capture_output=True)
    made = {}
    for name, work in works.items():
        scratch = folder / f"{name}-archive"
        scratch.mkdir()
        made[name] = archive(work, Place(models, scratch), "base_handler")
    return made


def _target(url: str, work: Work, folder: Path, through: str, key: str) -> Target:
    headers = {"Content-Type": "application/json"}
    if through != DIRECT:
        headers |= {"Authorization": f"Bearer {key}", "X-Modeldrop-Key": STICKY}
    return Target(url, body("instances", samples(work, folder / "models")[0].instances), headers)


def _round(targets: Mapping[tuple[str, str], Target], length: Length, number: int) -> dict[tuple[Cell, str], Seen]:
    found = {}
    for cell in CELLS:
        # Each round begins with another, so that none is always behind the same.
        turns = [cell.through[(at + number) % len(cell.through)] for at in range(len(cell.through))]
        for through in turns:
            seen = load(targets[cell.work, through], connections=cell.connections, seconds=length.seconds)
            found[cell, through] = seen
            _say(
                f"round {number + 1}: {cell.work} at {cell.connections:2}, {through:7} {seen.rate:8.1f}/s"
                f"  p50 {seen.p50_ms:8.3f}  p99 {seen.p99_ms:8.3f} ms{_void(seen.errors)}"
            )
    return found


def _say(line: str) -> None:
    print(line, flush=True)


# --- what is told -----------------------------------------------------------------------------------------------------
def _cells(rounds: Sequence[Mapping[tuple[Cell, str], Seen]]) -> list[dict[str, Any]]:
    """Return the medians of each cell, the rounds behind them, and how its servers compare within each round."""
    return [
        {
            "work": cell.work,
            "connections": cell.connections,
            "through": {t: asdict(middle([one[cell, t] for one in rounds])) for t in cell.through},
            "rounds": {t: [asdict(one[cell, t]) for one in rounds] for t in cell.through},
        }
        for cell in CELLS
    ]


def goals(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compare the medians with what is wanted; a cell with an error meets nothing."""
    found = {(cell["work"], cell["connections"]): cell["through"] for cell in cells}
    return [
        _added("w1", 1, found["w1", 1]),
        *(_share("w4", connections, found["w4", connections]) for connections in (1, 8)),
        *(_times("w1", connections, found["w1", connections]) for connections in (8, 32)),
    ]


def _added(work: str, connections: int, seen: Mapping[str, Any]) -> dict[str, Any]:
    added = seen[GATEWAY]["p50_ms"] - seen[DIRECT]["p50_ms"]
    name = f"p50 of {work} at {connections}, above a direct call"
    return _goal(name, f"<= {MOST_ADDED_MS} ms", f"{added:.3f} ms", added <= MOST_ADDED_MS, seen)


def _share(work: str, connections: int, seen: Mapping[str, Any]) -> dict[str, Any]:
    added = seen[GATEWAY]["p50_ms"] / seen[DIRECT]["p50_ms"] - 1
    name = f"p50 of {work} at {connections}, above a direct call"
    return _goal(name, f"<= {MOST_ADDED_SHARE:.0%}", f"{added:.1%}", added <= MOST_ADDED_SHARE, seen)


def _times(work: str, connections: int, seen: Mapping[str, Any]) -> dict[str, Any]:
    times = seen[GATEWAY]["rate"] / seen[PROXY]["rate"]
    name = f"answers a second of {work} at {connections}, in those of Starlette and httpx"
    return _goal(name, f">= {LEAST_TIMES_PROXY:g}", f"{times:.2f}", times >= LEAST_TIMES_PROXY, seen)


def _goal(name: str, goal: str, measured: str, met: bool, seen: Mapping[str, Any]) -> dict[str, Any]:  # noqa: FBT001
    errors = {through: one["errors"] for through, one in seen.items() if one["errors"]}
    told = f"void: {errors}" if errors else measured
    return {"name": name, "goal": goal, "measured": told, "met": met and not errors}


def _void(errors: Mapping[str, int]) -> str:
    return f" VOID: {dict(errors)}" if errors else ""


def as_markdown(found: Mapping[str, Any]) -> str:
    out, m = io.StringIO(), found["machine"]
    out.write("# The gateway: what it adds to a call\n\n")
    out.write(f"`python benchmarks/gateway.py{' --quick' if found['quick'] else ''}` on {m['cores']} cores of ")
    out.write(f"{m['cpu']}, Python {m['python']}; load when the timed part began {found['load']:.2f}. The load ")
    out.write("(wrk, one thread), the gateway and the replica share the cores.\n\n")
    out.write("| goal | wanted | measured | met |\n|---|---|---|---|\n")
    for g in found["goals"]:
        out.write(f"| {g['name']} | {g['goal']} | {g['measured']} | {'yes' if g['met'] else '**no**'} |\n")
    out.write("\n| model, connections | through | answers/s | p50 ms | p99 ms | longest ms | errors |\n")
    out.write("|---|---|---|---|---|---|---|\n")
    for cell in found["cells"]:
        for through, s in cell["through"].items():
            out.write(f"| {cell['work']}, {cell['connections']} | {through} | {s['rate']:.0f} | {s['p50_ms']:.3f} | ")
            out.write(f"{s['p99_ms']:.2f} | {s['max_ms']:.1f} | {_void(s['errors']).strip() or 'none'} |\n")
    out.write(f"\nMedians of {found['rounds']} rounds of {found['seconds']} s, in which all take turns. *direct*: the ")
    out.write("serving program on TCP, without TLS or key. *gateway*: the platform's, before a replica on its Unix ")
    out.write("socket; TLS, key check, split by a sticky key, metrics, the judge's counters. *proxy*: Starlette and ")
    out.write("httpx in one uvicorn process (uvloop, httptools) before the same replica, with the same certificate, ")
    out.write("key check, split and metrics; it judges no body and says in none who answered. ")
    out.write(f"{', '.join(f'{name} {version}' for name, version in found['peers'].items())}.\n\n")
    out.writelines(f"- {work.name}: {work.says}.\n" for work in WORKS if work.name in {c.work for c in CELLS})
    return out.getvalue()


def peers() -> dict[str, str]:
    """Return which releases the proxy stands on."""
    code = "import sys, importlib.metadata as m; print(*(f'{p}={m.version(p)}' for p in sys.argv[1:]))"
    command = [str(serving_peers.install()), "-c", code, *servers.PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(pair.split("=") for pair in done.stdout.split())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="one short round that writes no results")
    quick = options.parse_args().quick
    seen = measure(QUICK if quick else FULL)
    result = {"machine": machine(), "quick": quick, "peers": peers(), **seen, "goals": goals(seen["cells"])}
    if not quick:
        keep("gateway", result, as_markdown(result))
    print(as_markdown(result))


if __name__ == "__main__":
    main()
