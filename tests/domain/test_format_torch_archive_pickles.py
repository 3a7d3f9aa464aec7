"""Weights by the real exporters pass wherever they lie; forbidden imports and inner zips of two readings don't."""

import gzip
import io
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from chalicelib.domain.findings import Verdict
from chalicelib.domain.formats import DEFAULTS
from chalicelib.domain.formats.members import group
from chalicelib.domain.formats.torch_globals import NUMPY, TORCH
from tests.conftest import _kept
from tests.domain.uploads import codes, judged, mar, zipped

SYSTEM = b"cos\nsystem\n(S'id'\ntR."
PLAIN = pickle.dumps({"a": 1}, 2)
EXPORT = """\
import sys, warnings
import torch
warnings.simplefilter("ignore")
folder = sys.argv[1] + "/"
net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.BatchNorm1d(2)).eval()
torch.save(net.state_dict(), folder + "state.pt")
torch.save({"net": net.state_dict(), "adam": torch.optim.Adam(net.parameters()).state_dict()}, folder + "checkpoint.pt")
torch.save(net.state_dict(), folder + "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(net, folder + "whole.pt")
torch.save(net, folder + "whole_legacy.pt", _use_new_zipfile_serialization=False)
torch.jit.save(torch.jit.script(net), folder + "script.pt")
torch.jit.save(torch.jit.trace(net, torch.rand(1, 4)), folder + "trace.pt")
torch.export.save(torch.export.export(net, (torch.rand(2, 4),)), folder + "export.pt2")
"""
GOOD = ["state.pt", "checkpoint.pt", "legacy.pt", "script.pt", "trace.pt", "export.pt2"]


@pytest.fixture(scope="session")
def weights(request):
    """A folder of weights by the real exporters."""

    def build(folder):
        done = subprocess.run([sys.executable, "-c", EXPORT, folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    return _kept(request, "pickled_weights", EXPORT + version("torch"), build)


def judged_with(name, body, limits=DEFAULTS):
    return judged({"model.mar": mar(extra={name: body})}, limits)


@pytest.mark.parametrize("ending", [".pt", ".bin"])
@pytest.mark.parametrize("name", GOOD)
def test_what_torch_writes_is_accepted_by_whatever_name(weights, name, ending):
    body = (weights / name).read_bytes()
    assert judged_with("w" + ending, body).findings == ()
    stored = zipped({"inner/w" + ending: body}, zipfile.ZIP_STORED)
    assert judged_with("more.zip", stored).findings == ()


@pytest.mark.parametrize("name", ["whole.pt", "whole_legacy.pt"])
def test_a_whole_module_is_rejected_and_its_classes_are_named(weights, name):
    report = judged_with("w.bin", (weights / name).read_bytes())
    assert set(codes(report)) == {"forbidden_global"}
    assert any("torch.nn.modules.linear.Linear" in f.message for f in report.findings)


def saved(write):
    out = io.BytesIO()
    write(out)
    return out.getvalue()


class Evil:
    def __reduce__(self):
        return (eval, ("1",))


@pytest.mark.parametrize("protocol", range(6))
def test_numpys_arrays_and_scalars_are_accepted(protocol):
    arrays = {"a": np.arange(5), "o": np.array([1, None], dtype=object)}
    assert judged_with("a.pkl", pickle.dumps([arrays, np.float32(1), {1, 2}], protocol)).findings == ()
    assert judged_with("a.npz", saved(lambda f: np.savez(f, **arrays))).findings == ()
    assert judged_with("a.npz", saved(lambda f: np.savez_compressed(f, **arrays))).findings == ()
    fields = np.zeros(3, dtype=[("Other", "f4"), ("name", "U3")])
    assert judged_with("a.npy", saved(lambda f: np.save(f, fields))).findings == ()


EVIL_ARRAY = saved(lambda f: np.save(f, np.array([Evil()])))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("w.bin", SYSTEM),
        ("readme.txt", PLAIN + SYSTEM),
        ("w.pkl", pickle.dumps(Evil())),
        ("w.joblib", pickle.dumps([1, Evil()], 5)),
        ("a.npy", EVIL_ARRAY),
        ("a.npz", saved(lambda f: np.savez(f, x=np.array([Evil()])))),
        ("a.zip", zipped({"b.zip": zipped({"c.txt": SYSTEM})})),
        ("w.pt", zipped({"m/data.pkl": SYSTEM, "m/version": b"3\n"})),
        ("w.pt", zipped({"m/data.pkl": PLAIN, "m/version": b"3\n", "m/code/x.py.debug_pkl": SYSTEM})),
        ("w.pt", zipped({"m/data.pkl": PLAIN + SYSTEM, "m/version": b"3\n"})),
        ("w.pt", zipped({"m/data.pkl": b"c__torch__.Net\nNet\n.", "m/version": b"3\n"})),
        ("w.pt", zipped({"m/constants.pkl": b"ctorch.jit._pickle\ntorch.os.system\n.", "m/version": b"3\n"})),
    ],
)
def test_a_forbidden_global_is_found_wherever_it_lies(name, body):
    assert "forbidden_global" in codes(judged_with(name, body))


def test_only_torchscript_may_name_its_own_classes():
    pickled = b"c__torch__.a.Net\nNet\n0ctorch.jit._pickle\nbuild_intlist\n."
    script = {"m/data/0": SYSTEM, "m/data.pkl": pickled, "m/constants.pkl": b"\x80\x02)."}
    assert judged_with("w.pt", zipped(script)).findings == ()
    assert codes(judged_with("w.pt", pickled)) == ["forbidden_global"] * 2


def test_raw_storages_of_torch_are_never_pickles_though_they_look_so():
    torch_zip = {"m/data/0": SYSTEM, "m/data/1": b"PK\3\4 but no zip", "m/data.pkl": PLAIN, "m/version": b"3\n"}
    assert judged_with("w.pt", zipped(torch_zip, zipfile.ZIP_STORED)).findings == ()
    other_zip = {"m/data/0": SYSTEM, "m/text": b"3\n"}
    assert codes(judged_with("w.zip", zipped(other_zip))) == ["forbidden_global"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("w.pkl", SYSTEM[:-1]),
        ("w.pt", b"weights"),
        ("w.pt", b""),
        ("w.joblib", b"\x80\x04"),
        ("w.pkl", gzip.compress(PLAIN, mtime=0)),
        ("w.pt", zipped({"m/data.pkl": PLAIN[:-1], "m/version": b"3\n"})),
        ("w.pt", zipped({"m/data.pkl": PLAIN, "m/a.debug_pkl": b"\xff", "m/version": b"3\n"})),
        ("a.npy", EVIL_ARRAY[:-3]),
        ("w.bin", b"storages".ljust(257, b"\0") + b"ustar\0" + bytes(300)),
    ],
)
def test_what_must_be_a_pickle_and_isnt_whole_is_rejected(name, body):
    assert "bad_pickle" in codes(judged_with(name, body))


def test_the_legacy_form_needs_all_its_streams_and_nothing_of_its_storages(weights):
    whole = (weights / "legacy.pt").read_bytes()
    assert judged_with("w.bin", whole + SYSTEM).findings == ()
    assert codes(judged_with("w.bin", whole[:200])) == ["bad_pickle"]


@pytest.mark.parametrize("body", [SYSTEM[:-1], b"N", b"class A:\n  x\n  y", b"\0" * 100, b"PK\5 a text", b""])
def test_elsewhere_what_doesnt_parse_to_its_stop_is_no_pickle(body):
    assert judged_with("w.bin", body).findings == ()


def patched(body, at, value):
    return body[:at] + value + body[at + len(value) :]


def test_a_wrong_byte_of_an_inner_zip_is_found_by_its_crc(weights):
    body = (weights / "state.pt").read_bytes()
    at = body.index(b"little")
    report = judged_with("w.pt", patched(body, at, b"Little"))
    assert report.verdict is Verdict.REJECT
    at = body.rindex(b"PK\1\2") + 16
    assert codes(judged_with("w.pt", patched(body, at, b"\0\0\0\0"))) == ["header_mismatch"]


STORED = zipped({"m/data.pkl": PLAIN, "m/version": b"3\n"}, zipfile.ZIP_STORED)
END = len(STORED) - 22


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (STORED[:-1], "bad_zip"),
        (STORED[:40], "bad_zip"),
        (STORED + b"x", "bad_zip"),
        (zipped({"m/data.pkl": PLAIN}, zipfile.ZIP_BZIP2), "unknown_compression"),
        (zipped({"../x": b""}), "illegal_entry_name"),
        (patched(STORED, 14, b"\0\0\0\0"), "wrong_crc"),
        (patched(STORED, STORED.rindex(b"PK\1\2") + 42, b"\1"), "header_mismatch"),
        (b"\x80\x02N." + STORED, "hidden_bytes"),
        (b"#!/bin/sh\n" + STORED, "hidden_bytes"),
        (zipped({"1": zipped({"2": zipped({"3": zipped({"4": b""})})})}), "bad_zip"),
    ],
)
def test_an_inner_zip_has_one_reading_too(body, code):
    assert code in codes(judged_with("w.pt", body))


def test_inner_names_are_compared_with_the_inner_directory():
    twice = zipped({"m/a": b"1", "m/b": b"2"}, zipfile.ZIP_STORED).replace(b"m/b", b"m/a")
    assert codes(judged_with("w.zip", twice)) == ["duplicate_entry"]
    at = STORED.rindex(b"m/version")
    assert codes(judged_with("w.zip", patched(STORED, at, b"m/versioN"))) == ["header_mismatch"]


def test_inner_bombs_and_crowds_are_stopped():
    bomb = zipped({"a": bytes(2 * 2**20)})
    assert codes(judged_with("w.zip", bomb, replace(DEFAULTS, expanded=2**20))) == ["too_large"]
    crowd = zipped({str(n): b"" for n in range(20)})
    assert codes(judged_with("w.zip", crowd, replace(DEFAULTS, entries=10))) == ["too_many_entries"]


def deferred(body):
    """Return a zip with one stored entry in Torch's form."""
    crc, name = zlib.crc32(body), b"m/data/0"
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x808, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    tail = struct.pack("<4s3I", b"PK\7\x08", crc, len(body), len(body))
    fields = (b"PK\1\2", 20, 20, 0x808, 0, 0, 0, crc, len(body), len(body), len(name), 0, 0, 0, 0, 0, 0)
    directory = struct.pack("<4s6H3I5H2I", *fields) + name
    start = len(head) + len(body) + len(tail)
    return head + body + tail + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), start, 0)


@pytest.mark.parametrize("body", [b"", b"x", b"PK\7\x08" * 100, b"PK\7\x08" + bytes(12), b"xPK\3\4PK\1\2PK\5\6" * 9])
def test_where_torchs_entries_end_is_told_by_their_descriptors(body):
    whole = deferred(body)
    assert judged_with("w.pt", whole).findings == ()
    assert codes(judged_with("w.pt", whole.replace(struct.pack("<I", zlib.crc32(body)), b"\1\2\3\4"))) != []


def test_a_large_inner_zip_costs_no_memory():
    body = deferred(np.random.default_rng(1).bytes(32 * 2**20))
    archive = mar(extra={"w.pt": body})
    tracemalloc.start()
    report = judged({"model.mar": archive})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.findings == ()
    assert peak < 32 * 2**20


def test_the_allowed_globals_are_those_of_the_installed_torch():
    tool = Path(__file__).parents[2] / "tools" / "dump_torch_globals.py"
    done = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True)
    names: dict[str, frozenset[str]] = {}
    exec(done.stdout, names)  # our own tool's own output
    assert names["TORCH"] == TORCH
    assert names["NUMPY"] == NUMPY


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("torch._utils._rebuild_tensor_v2", None),
        ("numpy.core.multiarray._reconstruct", None),
        ("__torch__.Net", "script"),
        ("torch.jit._pickle.build_intlist", "script"),
        ("torch.jit._pickle.torch.os.system", "foreign"),
        ("torch.load", "foreign"),
        ("__torch__x", "foreign"),
    ],
)
def test_a_global_is_allowed_script_or_foreign_by_its_exact_name(name, kept):
    assert group(name) == kept
