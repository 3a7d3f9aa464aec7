"""How fast and how small validation is: `python benchmarks/validation.py [--full]`, run from the repository's root.

Each measurement runs in a process of its own, so that its peak memory is its own. The weights of the `.mar` are random
float32 in a real Torch zip, deflated at the archiver's level; the bare loop inflates the very same bytes in the same
run. What is judged in MinIO really lies there, and what MinIO sends for it is counted.
"""

import argparse
import io
import json
import os
import platform
import random
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.validation_artifacts import GB, LEVEL, MB, Made, archive, big_saved_model  # noqa: E402
from benchmarks.validation_store import judge_stored, stored  # noqa: E402
from chalicelib.domain.errors import NotFound, Rejected  # noqa: E402
from chalicelib.domain.findings import Report  # noqa: E402
from chalicelib.domain.formats import judge_upload  # noqa: E402
from chalicelib.domain.objects import StoredObject, Upload  # noqa: E402
from chalicelib.local.home import Home  # noqa: E402
from tests.domain.uploads import HANDLER, manifest, zipped  # noqa: E402

T = TypeVar("T")
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = 2**20
ROUNDS = 3
QUIET, PATIENCE = 0.5, 120.0  # the load that speed is measured at, and seconds to wait for it


class Counting:
    """Reads files made of repeated parts, never held whole, and counts what is asked for."""

    def __init__(self, files: Mapping[str, "Made"]) -> None:
        self.files = files
        self.ranged = self.streamed = 0

    def read(self, path: str, start: int, length: int) -> bytes:
        body = self.files[path].cut(start, length)
        self.ranged += len(body)
        return body

    def stream(self, path: str) -> Iterator[bytes]:
        for block in self.files[path].blocks():
            self.streamed += len(block)
            yield block

    def judge(self) -> Report:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        files = tuple(StoredObject(f"big/1/{p}", f.size, "etag", now) for p, f in sorted(self.files.items()))
        return judge_upload(Upload("big/1/", files), self)


# What is measured, each in a process of its own


def torch_archive(size: int) -> dict[str, Any]:
    """Judge a `.mar` of `size` bytes, and inflate the same bytes in a bare loop, alternately."""
    made, inflated = archive(size)
    rounds = []
    for _ in range(ROUNDS):
        reader, load = Counting({"model.mar": made}), os.getloadavg()[0]
        bare, _ = _timed(lambda: _bare(made))
        judged, report = _timed(reader.judge)
        rounds.append({"load": load, "bare_seconds": bare, "judged_seconds": judged})
    bare, judged = (min(r[which] for r in rounds) for which in ("bare_seconds", "judged_seconds"))
    return {
        "bytes": made.size, "inflated": inflated, "streamed": reader.streamed, "read_by_range": reader.ranged,
        "read_per_byte": (reader.streamed + reader.ranged) / made.size, "rounds": rounds,
        "bare_mb_per_s": inflated / bare / MB, "judged_mb_per_s": inflated / judged / MB,
        "ratio": bare / judged, **_said(report),
    }  # fmt: skip


def rejections() -> dict[str, Any]:
    """Judge archives of some MB each whose headers already show that they are rejected."""
    body = random.Random(1).randbytes(8 * MB)  # noqa: S311  # a benchmark's numbers
    plain = {"h.py": HANDLER, "MAR-INF/MANIFEST.json": manifest(), "w.bin": body}
    whole = zipped(plain, zipfile.ZIP_STORED)
    cases = {
        "another name in the manifest": zipped(plain | {"MAR-INF/MANIFEST.json": manifest(modelName="x")}),
        "no manifest": zipped({"h.py": HANDLER, "w.bin": body}),
        "an escaping name": zipped(plain | {"../x": b""}),
        "a bad handler": zipped(plain | {"h.py": b"def handle(:"}),
        "no end record": whole[:-30],
        "a gzip": b"\x1f\x8b" + body,
    }
    found = {}
    for name, made in cases.items():
        reader = Counting({"model.mar": Made((made, 1))})
        found[name] = {"bytes": len(made), **_said(reader.judge()), "read": reader.ranged + reader.streamed}
    return {"cases": found, "most_read": max(c["read"] for c in found.values())}


def _bare(made: Made) -> None:
    """Inflate what an archive has deflated, and nothing else: no CRC, no walk."""
    head, *body, tail = made.parts
    del head, tail
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for block in Made(*body).blocks():
        rest = block
        while rest:
            inflate.decompress(rest, BLOCK)
            rest = inflate.unconsumed_tail


def _timed(act: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    found = act()
    return time.perf_counter() - began, found


def _said(report: Report) -> dict[str, Any]:
    return {"verdict": str(report.verdict), "codes": [f.code for f in report.findings]}


# What runs them


def measure(name: str, *more: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--only", name, *more]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)  # type: ignore[no-any-return]


def measure_stored(files: Mapping[str, Made]) -> dict[str, Any]:
    """Judge an upload in MinIO; says why where that can't be."""
    try:
        with stored(files) as home:
            return measure("stored", "--home", str(home.root))
    except (NotFound, Rejected) as error:
        return {"not_measured": str(error)}


def measure_all(size: int) -> dict[str, Any]:
    load = quiet_load()
    mar = measure("torch_archive", "--size", str(size))
    return {
        "load": load,
        "torch_archive": mar,
        "rejections": measure("rejections"),
        "stored_saved_model": measure_stored(big_saved_model(10 * GB)),
        "stored_archive": measure_stored({"model.mar": archive(size)[0]}),
    }


def quiet_load() -> float:
    """Return the machine's load, once it is low or patience has ended: a busy machine says nothing of speed."""
    deadline = time.monotonic() + PATIENCE
    while (load := os.getloadavg()[0]) > QUIET and time.monotonic() < deadline:
        time.sleep(5)
    return load


def goals(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    mar, refused = seen["torch_archive"], seen["rejections"]
    per_byte, most = mar["read_per_byte"], refused["most_read"]
    rejected = all(c["verdict"] == "reject" for c in refused["cases"].values())
    right = rejected and mar["verdict"] == "accept"
    return [
        _goal("good ones are accepted, bad ones rejected", "all", "all" if right else "not all", right),
        *_stored_goals("10 GB SavedModel", seen["stored_saved_model"], 0.01, "< 1 %"),
        *_stored_goals(".mar", seen["stored_archive"], 1.001, "<= 100.1 %"),
        _goal("bytes of a .mar that are read, to its size", "<= 100.1 %", f"{per_byte:.4%}", per_byte <= 1.001),
        _goal("speed to a bare zlib loop", ">= 80 %", f"{mar['ratio']:.1%}", mar["ratio"] >= 0.8),
        _memory("a .mar that is made as it is read", mar["peak_mb"]),
        _goal("read of what its header rejects", "< 1 MB", f"{most / MB:.3f} MB", most < MB),
    ]


def _stored_goals(what: str, seen: Mapping[str, Any], most: float, wanted: str) -> list[dict[str, Any]]:
    name = f"share of a {what} in MinIO that is fetched and accepted"
    if why := seen.get("not_measured"):
        return [_goal(name, wanted, f"not measured: {why}", False)]
    met = seen["share"] <= most and seen["verdict"] == "accept"
    measured = f"{seen['share']:.4%}, {seen['verdict']}"
    return [_goal(name, wanted, measured, met), _memory(f"a {what} in MinIO", seen["peak_mb"])]


def _memory(what: str, peak: float) -> dict[str, Any]:
    return _goal(f"peak memory while judging {what}", "<= 256 MB", f"{peak:.0f} MB", peak <= 256)


def _goal(name: str, goal: str, measured: str, met: bool) -> dict[str, Any]:  # noqa: FBT001
    return {"name": name, "goal": goal, "measured": measured, "met": met}


def machine() -> dict[str, Any]:
    cpu = next((x.split(":")[1].strip() for x in _lines("/proc/cpuinfo") if x.startswith("model name")), "unknown")
    cores = sum(x.startswith("processor") for x in _lines("/proc/cpuinfo"))
    return {"cpu": cpu, "cores": cores, "python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}


def keep(name: str, result: Mapping[str, Any], page: str, folder: Path = RESULTS) -> None:
    """Write a benchmark's figures and its page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (folder / f"{name}.md").write_text(page)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def as_markdown(found: Mapping[str, Any]) -> str:
    out = io.StringIO()
    m, mar = found["machine"], found["torch_archive"]
    out.write("# Validation: how fast and how small\n\n")
    out.write(f"`python benchmarks/validation.py{' --full' if found['full'] else ''}` ")
    out.write(f"on {m['cores']} cores of {m['cpu']}, Python {m['python']}, zlib {m['zlib']}; ")
    out.write(f"load when the timed part began {found['load']:.2f}.\n\n")
    out.write("| goal | wanted | measured | met |\n|---|---|---|---|\n")
    for g in found["goals"]:
        out.write(f"| {g['name']} | {g['goal']} | {g['measured']} | {'yes' if g['met'] else '**no**'} |\n")
    out.write(f"\nThe `.mar`: {mar['bytes'] / GB:.2f} GB, {mar['inflated'] / GB:.2f} GB of random float32 weights in a")
    out.write(f" Torch zip, deflated at level {LEVEL}: judged at {mar['judged_mb_per_s']:.0f} MB/s, inflated by a bare")
    out.write(f" loop (no CRC) at {mar['bare_mb_per_s']:.0f} MB/s, the best of {ROUNDS} alternating rounds each.\n\n")
    out.write(f"In MinIO: {_told('the SavedModel', found['stored_saved_model'])}; ")
    out.write(f"{_told('the same `.mar`', found['stored_archive'])}. MinIO shares the cores and the disk.\n")
    return out.getvalue()


def _told(what: str, seen: Mapping[str, Any]) -> str:
    if "not_measured" in seen:
        return f"{what} wasn't measured"
    fetched = f"{seen['fetched']} of {seen['bytes']} bytes by {seen['requests']} requests"
    return f"{what} had {fetched} fetched, {seen['seconds']:.2f} s"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--full", action="store_true", help="judge a .mar of 5 GB instead of 1 GB")
    options.add_argument("--only", choices=["torch_archive", "rejections", "stored"], help="one of them, as JSON")
    options.add_argument("--size", type=int, default=GB)
    options.add_argument("--home", type=Path, help="of the MinIO that holds what --only stored judges")
    chosen = options.parse_args()
    if chosen.only:
        print(json.dumps({**only(chosen.only, chosen.size, chosen.home), "peak_mb": peak_mb()}))
        return
    seen = measure_all(5 * GB if chosen.full else GB)
    result = {"machine": machine(), "full": chosen.full, **seen, "goals": goals(seen)}
    keep("validation", result, as_markdown(result))
    print(as_markdown(result))


def only(name: str, size: int, home: Path) -> dict[str, Any]:
    match name:
        case "torch_archive":
            return torch_archive(size)
        case "rejections":
            return rejections()
        case _:
            return judge_stored(Home(home))


def peak_mb() -> float:
    """Return this program's own peak: what getrusage says may be that of the process which started it."""
    [line] = [x for x in _lines("/proc/self/status") if x.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / MB


if __name__ == "__main__":
    main()
