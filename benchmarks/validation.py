"""How fast and how small validation is: `python benchmarks/validation.py [--full]`, run from the repository's root.

Each measurement runs in a process of its own, so that its peak memory is its own. The weights are random float32 in a
real Torch zip, deflated at the archiver's level; the bare loop inflates the very same bytes in the same run.
"""

import argparse
import io
import json
import math
import platform
import random
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from chalicelib.domain.findings import Report  # noqa: E402
from chalicelib.domain.formats import judge_upload  # noqa: E402
from chalicelib.domain.objects import StoredObject, Upload  # noqa: E402
from chalicelib.domain.sstable import crc32c  # noqa: E402
from tests.domain.uploads import HANDLER, manifest, zipped  # noqa: E402
from tests.validation.byhand import index_of, message, meta_graph, saved_model, variable  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
MB, GB = 10**6, 10**9
LEVEL = 6  # what torch-model-archiver deflates with
BLOCK = 2**20
UNIT = 16 * 2**20  # bytes of random weights that the archive repeats
ROUNDS = 5


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


class Made:
    """A file of parts, each said as bytes and how often they are repeated."""

    def __init__(self, *parts: tuple[bytes, int]) -> None:
        self.parts = [(p, n) for p, n in parts if p and n]
        self.size = sum(len(p) * n for p, n in self.parts)

    def blocks(self) -> Iterator[bytes]:
        for part, times in self.parts:
            for _ in range(times):
                yield from (part[at : at + BLOCK] for at in range(0, len(part), BLOCK))

    def cut(self, start: int, length: int) -> bytes:
        out, at = [], 0
        end = min(start + length, self.size)
        for part, times in self.parts:
            low, high = max(start, at), min(end, at + len(part) * times)
            while low < high:
                offset = (low - at) % len(part)
                piece = part[offset : offset + high - low]
                out.append(piece)
                low += len(piece)
            at += len(part) * times
        return b"".join(out)


def weights(size: int) -> bytes:
    """Return random float32 weights, as a layer is initialised with."""
    made = random.Random(1)  # noqa: S311  # a benchmark's numbers, the same each time
    return array("f", (made.gauss(0, 0.02) for _ in range(size // 4))).tobytes()


def archive(size: int) -> Made:
    """Return a `model.mar` whose weights are a Torch zip of `size` bytes, deflated as the archiver does."""
    unit = weights(UNIT)
    times = max(1, size // UNIT)
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    head, tail = _torch_zip(unit, times)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    middle = packer.compress(unit) + packer.flush(zlib.Z_FULL_FLUSH)  # the same bytes each time: nothing is remembered
    last = packer.compress(tail) + packer.flush()
    crc = zlib.crc32(tail, _repeated(zlib.crc32(head), unit, times))
    inflated, packed = len(head) + len(unit) * times + len(tail), len(first) + len(middle) * times + len(last)
    return _mar(Made((first, 1), (middle, times), (last, 1)), crc, packed, inflated)


def _repeated(crc: int, unit: bytes, times: int) -> int:
    for _ in range(times):
        crc = zlib.crc32(unit, crc)
    return crc


def _torch_zip(unit: bytes, times: int) -> tuple[bytes, bytes]:
    """Return what precedes and follows the one storage of a Torch zip in Torch's own form."""
    pickle = b"\x80\x02}q\0."
    small = [("archive/data.pkl", pickle), ("archive/version", b"3\n")]
    head, records = b"", b""
    for name, body in small:
        records += _central(name, zlib.crc32(body), len(body), len(head))
        head += _local(name) + body + _descriptor(zlib.crc32(body), len(body))
    records += _central("archive/data/0", (crc := _repeated(0, unit, times)), (size := len(unit) * times), len(head))
    head += _local("archive/data/0")
    end = _descriptor(crc, size)
    start = len(head) + size + len(end)
    return head, end + records + _end_records(len(small) + 1, len(records), start)


def _local(name: str) -> bytes:
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x808, 0, 0, 0, 0, 0, 0, len(name), 0) + name.encode()


def _descriptor(crc: int, size: int) -> bytes:
    return struct.pack("<4sI2Q" if size >= 2**32 else "<4s3I", b"PK\7\x08", crc, size, size)


def _central(
    name: str, crc: int, size: int, at: int, *, flags: int = 0x808, method: int = 0, packed: int | None = None
) -> bytes:
    sizes = (size, size if packed is None else packed)
    wide = [v for v in sizes if v >= 2**32 - 1] + ([at] if at >= 2**32 - 1 else [])
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    shown, kept, where = (min(v, 2**32 - 1) for v in (*sizes, at))
    fields = (b"PK\1\2", 20, 20, flags, method, 0, 0, crc, kept, shown, len(name), len(extra), 0, 0, 0, 0, where)
    return struct.pack("<4s6H3I5H2I", *fields) + name.encode() + extra


def _end_records(count: int, length: int, start: int) -> bytes:
    wide = b""
    if start >= 2**32 - 1:
        wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
        wide += struct.pack("<4sIQI", b"PK\6\7", 0, start + length, 1)
    return wide + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, length, min(start, 2**32 - 1), 0)


def _mar(body: Made, crc: int, packed: int, inflated: int) -> Made:
    """Return an archive of a handler, a manifest and the weights, headers as Python's zipfile writes them."""
    small = {"h.py": HANDLER, "MAR-INF/MANIFEST.json": manifest(serializedFile="weights.pt")}
    head, records = b"", b""
    for name, text in small.items():
        records += _central(name, zlib.crc32(text), len(text), len(head), flags=0)
        fields = (b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(text), len(text), len(text), len(name), 0)
        head += struct.pack("<4s5H3I2H", *fields) + name.encode() + text
    name = "weights.pt"
    records += _central(name, crc, inflated, len(head), flags=0, method=8, packed=packed)
    is_wide = max(packed, inflated) >= 2**32 - 1
    extra = struct.pack("<2H2Q", 1, 16, inflated, packed) if is_wide else b""
    sizes = (2**32 - 1, 2**32 - 1) if is_wide else (packed, inflated)
    head += (
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, *sizes, len(name), len(extra)) + name.encode() + extra
    )
    start = len(head) + packed
    return Made((head, 1), *body.parts, (records + _end_records(len(small) + 1, len(records), start), 1))


# What is measured, each in a process of its own


def saved_model_10gb(_: int) -> dict[str, Any]:
    """Judge a SavedModel of 10 GB in five shards."""
    shards, tensors, each = 5, 400, 25 * MB
    zeros = bytes(BLOCK)
    rows, files = [], {}
    per_shard = tensors // shards
    for n in range(tensors):
        entry = variable(n // per_shard, n % per_shard * each, each)
        rows.append((f"layer{n:04}/.ATTRIBUTES/VARIABLE_VALUE".encode(), entry))
    for n in range(shards):
        whole, rest = divmod(per_shard * each, BLOCK)
        files[f"variables/variables.data-{n:05}-of-{shards:05}"] = Made((zeros, whole), (zeros[:rest], 1))
    graph = saved_model(meta_graph(message(3, message(3, "save"))))
    files |= {"saved_model.pb": Made((graph, 1)), "variables/variables.index": Made((index_of(rows, shards), 1))}
    reader = Counting(files)
    began = time.perf_counter()
    report = reader.judge()
    seconds = time.perf_counter() - began
    size = sum(f.size for f in files.values())
    read = reader.ranged + reader.streamed
    return {"bytes": size, "read": read, "share": read / size, "seconds": seconds, **_said(report)}


def torch_archive(size: int) -> dict[str, Any]:
    """Judge a `.mar` whose weights have `size` bytes, and inflate the same bytes in a bare loop, alternately."""
    made = archive(size)
    reader = Counting({"model.mar": made})
    report, bare, judged = reader.judge(), math.inf, math.inf
    streamed, ranged = reader.streamed, reader.ranged
    for _ in range(ROUNDS):
        bare = min(bare, _timed(lambda: _bare(made)))
        judged = min(judged, _timed(reader.judge))
    inflated = size // UNIT * UNIT
    return {
        "bytes": made.size, "inflated": inflated, "streamed": streamed, "read_by_range": ranged,
        "read_per_byte": (streamed + ranged) / made.size,
        "bare_seconds": bare, "judged_seconds": judged,
        "bare_mb_per_s": inflated / bare / MB, "judged_mb_per_s": inflated / judged / MB,
        "ratio": bare / judged, **_said(report),
    }  # fmt: skip


def rejections(_: int) -> dict[str, Any]:
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


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _said(report: Report) -> dict[str, Any]:
    return {"verdict": str(report.verdict), "codes": [f.code for f in report.findings]}


MEASURED: dict[str, Callable[[int], dict[str, Any]]] = {
    f.__name__: f for f in (saved_model_10gb, torch_archive, rejections)
}


def measure(name: str, size: int) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--only", name, "--size", str(size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # type: ignore[no-any-return]


def goals(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    saved, mar, refused = (seen[name] for name in ("saved_model_10gb", "torch_archive", "rejections"))
    accepted = saved["verdict"] == mar["verdict"] == "accept"
    rejected = all(c["verdict"] == "reject" for c in refused["cases"].values())
    streamed, peak = mar["streamed"] / mar["bytes"], mar["peak_mb"]
    per_byte, most = mar["read_per_byte"], refused["most_read"]
    right = accepted and rejected
    return [
        _goal("good ones are accepted, bad ones rejected", "all", "all" if right else "not all", right),
        _goal("share of a 10 GB SavedModel that is read", "< 1 %", f"{saved['share']:.4%}", saved["share"] < 0.01),
        _goal("bytes of a .mar that are streamed, to its size", "<= 1", f"{streamed:.6f}", streamed <= 1),
        _goal("bytes of a .mar that are read in all, to its size", "<= 1.001", f"{per_byte:.6f}", per_byte <= 1.001),
        _goal("peak memory while judging a .mar", "<= 256 MB", f"{peak:.0f} MB", peak <= 256),
        _goal("speed to a bare zlib loop", ">= 80 %", f"{mar['ratio']:.1%}", mar["ratio"] >= 0.8),
        _goal("read of what its header rejects", "< 1 MB", f"{most / MB:.3f} MB", most < MB),
    ]


def _goal(name: str, goal: str, measured: object, met: object) -> dict[str, Any]:
    return {"name": name, "goal": goal, "measured": measured, "met": bool(met)}


def machine() -> dict[str, Any]:
    cpu = next((x.split(":")[1].strip() for x in _lines("/proc/cpuinfo") if x.startswith("model name")), "unknown")
    cores = sum(x.startswith("processor") for x in _lines("/proc/cpuinfo"))
    return {"cpu": cpu, "cores": cores, "python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def as_markdown(found: Mapping[str, Any]) -> str:
    out = io.StringIO()
    m, mar, saved = found["machine"], found["torch_archive"], found["saved_model_10gb"]
    out.write("# Validation: how fast and how small\n\n")
    out.write(f"`python benchmarks/validation.py` on {m['cores']} cores of {m['cpu']}, ")
    out.write(f"Python {m['python']}, zlib {m['zlib']}; load at the start {found['load']}.\n\n")
    out.write("| goal | wanted | measured | met |\n|---|---|---|---|\n")
    for g in found["goals"]:
        out.write(f"| {g['name']} | {g['goal']} | {g['measured']} | {'yes' if g['met'] else '**no**'} |\n")
    out.write(f"\nThe `.mar`: {mar['bytes'] / GB:.2f} GB, {mar['inflated'] / GB:.2f} GB of random float32 weights in a")
    out.write(f" Torch zip, deflated at level {LEVEL}: judged at {mar['judged_mb_per_s']:.0f} MB/s, inflated by a bare")
    out.write(f" loop (no CRC) at {mar['bare_mb_per_s']:.0f} MB/s, the best of {ROUNDS} alternating rounds each.")
    out.write(
        f"\nThe SavedModel: {saved['bytes'] / GB:.1f} GB, {saved['read']} bytes read, {saved['seconds']:.2f} s.\n"
    )
    return out.getvalue()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--full", action="store_true", help="judge 5 GB instead of 1 GB of weights")
    options.add_argument("--only", choices=MEASURED, help="one measurement, here, as JSON")
    options.add_argument("--size", type=int, default=GB)
    chosen = options.parse_args()
    if chosen.only:
        found = MEASURED[chosen.only](chosen.size)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
        print(json.dumps({**found, "peak_mb": peak}))
        return
    crc32c(b"")  # fails here, not in a child, where the sources can't be imported
    load = Path("/proc/loadavg").read_text().split()[0]
    seen: dict[str, Any] = {name: measure(name, 5 * GB if chosen.full else GB) for name in MEASURED}
    result = {"machine": machine(), "load": load, "full": chosen.full, **seen, "goals": goals(seen)}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "validation.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "validation.md").write_text(as_markdown(result))
    print(as_markdown(result))


if __name__ == "__main__":
    main()
