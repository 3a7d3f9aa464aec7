"""How fast serving is beside others: `python benchmarks/serving.py [--quick]`; needs wrk.

Ours is the real program with its limits, metrics and checks on, on TCP like every peer, its model in a real `.mar` or
SavedModel. Each answer is compared with the raw forward's before anything is timed. One work after the other, all its
servers run at once, take turns round by round, and are frozen while it isn't their turn.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "serving_image")]

from benchmarks import serving_servers as servers  # noqa: E402
from benchmarks.serving_gpu import gpu  # noqa: E402
from benchmarks.serving_hot_load import hot_load  # noqa: E402
from benchmarks.serving_peers import FOLDER, NoPeers, install  # noqa: E402
from benchmarks.serving_report import as_markdown, goals  # noqa: E402
from benchmarks.serving_run import FULL, QUICK, Length, compare, in_process  # noqa: E402
from benchmarks.serving_work import WORKS, Work  # noqa: E402
from benchmarks.validation import RESULTS, keep, machine, quiet_load  # noqa: E402

NAMED = ("torch", "tensorflow", "torchserve", "fastapi", "uvicorn", "litserve", "mlserver")
EVERY = (servers.OURS, *servers.PEERS, servers.PLAIN, servers.ECHO, *servers.HANDLERS, *servers.SAVED_MODELS)
# Where numbers come as JSON, a handler that takes lists is shown beside one that takes arrays.
WITH_HANDLERS = ("w1", "w3-json")


def entered(work: Work) -> Sequence[servers.Server]:
    """Say which servers take part in a work."""
    more = servers.HANDLERS if work.name in WITH_HANDLERS else ()
    bare = () if work.name == "w4" else (servers.PLAIN, servers.ECHO)
    return (servers.OURS, *servers.PEERS, *more, *bare)


def measure(works: Sequence[Work], length: Length) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="modeldrop-serving-") as folder:
        models, scratch = Path(folder, "models"), Path(folder, "scratch")
        models.mkdir()
        decoder = _build(models)
        measured, raw = [], {}
        for work in works:
            raw[work.name] = _raw(work, models)
            measured += compare(work, entered(work), models, scratch, length)
        return {
            "decoder": decoder,
            "raw": raw,
            "measured": [one.as_json() for one in measured],
            "saved_model": _saved_model(works, models, scratch / "saved_model", length),
            "hot_load": hot_load(models, scratch / "hot_load"),
            "gpu": gpu(models, scratch / "gpu", length),
        }


def _build(models: Path) -> dict[str, Any]:
    decoder: dict[str, Any] = in_process(sys.executable, _script("serving_build"), "build", str(models))
    print(f"w4's decoder has {decoder['steps']} steps: CPU ms a forward by batch {decoder['forward_ms']}", flush=True)
    in_process(sys.executable, _script("serving_saved_models"), str(models))
    return decoder


def _raw(work: Work, models: Path) -> dict[str, float]:
    found: dict[str, float] = in_process(sys.executable, _script("serving_build"), "raw", str(models), work.name)
    print(f"{work.name:8} the bare forward, rows/s: {found}", flush=True)
    return found


def _script(name: str) -> str:
    return str(Path(__file__).with_name(f"{name}.py"))


def _saved_model(works: Sequence[Work], models: Path, scratch: Path, length: Length) -> list[dict[str, Any]]:
    at_eight = Length(rounds=length.rounds, seconds=length.seconds, connections=(8,))
    mlps = [work for work in works if work.model == "mlp"]
    return [m.as_json() for work in mlps for m in compare(work, servers.SAVED_MODELS, models, scratch, at_eight)]


def versions() -> dict[str, str]:
    """What the peers' environment finds: its own first, then ours."""
    places = [*map(str, FOLDER.glob("lib/python*/site-packages")), *sys.path]
    found: dict[str, str] = {}
    for one in distributions(path=places):
        name = one.metadata["Name"].lower()
        if name in NAMED:
            found.setdefault(name, one.version)
    return {name: found[name] for name in NAMED if name in found}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a look of some minutes: 8 connections, one short round")
    options.add_argument("--works", default=",".join(w.name for w in WORKS), help="only these, by commas")
    asked = options.parse_args()
    # Whoever ends us ends what we started, frozen or not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if shutil.which("wrk") is None:
        sys.exit("The load is made by wrk, which isn't here; on Debian: apt-get install wrk")
    try:
        install()
    except NoPeers as error:
        print(f"The peers can't be installed, so only ours is measured: {error}", flush=True)
    works = [work for work in WORKS if work.name in asked.works.split(",")]
    length = QUICK if asked.quick else FULL
    load = quiet_load()
    found = {"machine": machine(), "versions": versions(), "load": load, "quick": asked.quick, "length": asdict(length)}
    found |= {"works": {w.name: w.says for w in works}, "servers": {s.name: s.says for s in EVERY}}
    found |= {"roles": {s.name: s.role for s in EVERY}, **measure(works, length)}
    result = {**found, "goals": goals(found)}
    print(as_markdown(result))
    # A look must not replace the figures of a whole run.
    is_whole = not asked.quick and len(works) == len(WORKS)
    folder = RESULTS if is_whole else Path(tempfile.mkdtemp(prefix="modeldrop-serving-"))
    keep("serving", result, as_markdown(result), folder)
    print(f"written to {folder}")


if __name__ == "__main__":
    main()
