"""Weights inside an archive: Torch's zips, with each header written by hand, and pickles that would do something."""

import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from chalicelib.domain.formats import DEFAULTS
from tests.domain.uploads import mar
from tests.validation.byhand import DEFLATED, Raw, deflated, descriptor, raw_zip, zip_of
from tests.validation.corpus import Built, Case, Files, bad, good
from tests.validation.corpus_archives import BODY, MAR, unicode_path

LOADS = Path(__file__).with_name("weights_handler.py").read_bytes()
SMALL = replace(DEFAULTS, expanded=50_000, entries=15)
PLAIN = pickle.dumps({"a": [1.0, 2.0]}, 2)
RUNS = b"cos\nsystem\n(S'true'\ntR."
HIDES = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x8c\x04true\x85R."
COMPUTES = b"\x80\x04\x8c\x01o\x8c\x01s\x86\x8c\x06system\x93."


def weighing(body: bytes, name: str = "w.pt") -> Files:
    return {MAR: mar(LOADS, extra={name: body}, serializedFile=name)}


def of(name: str) -> Callable[[Built], Files]:
    """Return an archive with one file of the weights' folder as its weights."""
    return lambda built: weighing((built.weights / name).read_bytes(), name)


def deferred(name: bytes, body: bytes, tail: bytes | None = None) -> Raw:
    """Return an entry as Torch writes it: its sizes and its CRC are in a descriptor."""
    said = {"crc": 0, "packed": 0, "size": 0}
    return Raw(name, body, flags=0x808, descriptor=tail or descriptor(body, len(body)), local=said)


DATA, STORAGE, VERSION = (
    deferred(b"w/data.pkl", PLAIN),
    deferred(b"w/data/0", bytes(16)),
    deferred(b"w/version", b"3\n"),
)


def torch_zip(*entries: Raw, **how: object) -> Files:
    return weighing(raw_zip([DATA, STORAGE, VERSION, *entries], **how))  # type: ignore[arg-type]


def plain(**changes: object) -> Files:
    """Return a Torch zip with an entry that says its sizes first, changed in its own header."""
    return torch_zip(Raw(b"w/data/1", b"weights", local=changes))


def said(**changes: object) -> Files:
    return torch_zip(Raw(b"w/data/1", b"weights", central=changes))


def nested(depth: int) -> bytes:
    body = PLAIN
    for _ in range(depth):
        body = zip_of({"a.zip": body})
    return body


def tar_of(body: bytes) -> bytes:
    """Return the oldest form of torch.save."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("sys_info", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, BytesIO(body))
    return buffer.getvalue()


CASES: dict[str, Case] = {
    "a Torch zip written by hand": good(torch_zip()),
    "a Torch zip with sizes said first": good(torch_zip(Raw(b"w/data/1", b"weights"))),
    "raw storage that begins like a pickle": good(torch_zip(deferred(b"w/data/1", RUNS))),
    "Torch's optimizer and its model": good(of("checkpoint.pt")),
    "a whole module": bad(of("whole_module.pt"), "forbidden_global"),
    "a whole module in the legacy form": bad(of("whole_legacy.pt"), "forbidden_global"),
    "numpy's objects": bad(of("objects.npz"), "forbidden_global"),
    "weights that run a program": bad(weighing(RUNS), "forbidden_global"),
    "weights that hide what they run": bad(weighing(HIDES), "forbidden_global"),
    "weights that compute what they run": bad(weighing(COMPUTES), "forbidden_global"),
    "a second pickle that runs a program": bad(weighing(PLAIN + RUNS), "forbidden_global"),
    "a file of another ending that runs a program": bad({MAR: mar(extra={"notes.txt": RUNS})}, "forbidden_global"),
    "a Torch zip that runs a program": bad(torch_zip(deferred(b"w/more.pkl", RUNS)), "forbidden_global"),
    "a program in a zip in a zip": bad(weighing(zip_of({"b.zip": zip_of({"c": HIDES})}), "a.zip"), "forbidden_global"),
    "TorchScript's names outside of TorchScript": bad(weighing(b"c__torch__\nNet\n)\x81."), "forbidden_global"),
    "a program behind a number with an underscore": bad(
        {MAR: mar(extra={"notes.txt": b"Np1_0\n0" + RUNS})}, "forbidden_global"
    ),
    "a program behind a number of twenty digits": bad(
        {MAR: mar(extra={"notes.txt": b"Np" + b"1" * 20 + b"\n0" + RUNS})}, "forbidden_global"
    ),
    "a pickle of too many steps": bad(
        {MAR: mar(extra={"w.bin": PLAIN})}, "bad_pickle", limits=replace(DEFAULTS, opcodes=5)
    ),
    "weights that are no pickle": bad(weighing(b"not a pickle at all"), "bad_pickle"),
    "a pickle cut short": bad(weighing(PLAIN[:-3]), "bad_pickle"),
    "weights in a tar": bad(weighing(tar_of(PLAIN)), "bad_pickle"),
    "weights of no bytes": bad(weighing(b""), "bad_pickle"),
    "a Torch zip whose pickle is damaged": bad(torch_zip(deferred(b"w/more.pkl", b"x")), "bad_pickle"),
    "weights that end as a zip": bad(weighing(PLAIN + raw_zip([DATA]), "a.bin"), "hidden_bytes"),
    "a Torch zip cut short": bad(weighing(raw_zip([DATA, STORAGE])[:60]), "bad_zip"),
    "a Torch zip without a directory": bad(weighing(raw_zip([DATA])[: -22 - 56]), "bad_zip"),
    "a Torch zip and more": bad(weighing(raw_zip([DATA, STORAGE]) + b"more"), "bad_zip"),
    "a Torch zip with bytes before its directory": bad(
        torch_zip(Raw(b"w/data/1", b"weights"), before_directory=b"x"), "hidden_bytes"
    ),
    "a Torch zip with an entry that isn't named": bad(torch_zip(hidden=[Raw(b"w/x.pkl", PLAIN)]), "hidden_bytes"),
    "a Torch zip whose directory says another size": bad(said(size=6, packed=6), "header_mismatch"),
    "a Torch zip whose directory says another name": bad(said(name=b"w/data/2"), "header_mismatch"),
    "a Torch zip's entry of another size": bad(
        torch_zip(Raw(b"w/data/1", deflated(BODY), local={"method": DEFLATED, "size": 9})), "header_mismatch"
    ),
    "a Torch zip's entry of another CRC": bad(plain(crc=1), "wrong_crc"),
    "a Torch zip's entry with a wrong descriptor": bad(
        torch_zip(Raw(b"w/data/1", BODY, DEFLATED, flags=8, descriptor=descriptor(b"", 0))), "header_mismatch"
    ),
    "a Torch zip's entry that can't be inflated": bad(plain(method=DEFLATED), "bad_zip"),
    "a Torch zip's entry that is encrypted": bad(plain(flags=1), "unknown_compression"),
    "a Torch zip's entry of a second name": bad(plain(extra=unicode_path(b"w/data/1", b"v")), "illegal_entry_name"),
    "a Torch zip's entry that escapes": bad(torch_zip(deferred(b"w/../x", b"x")), "illegal_entry_name"),
    "one name twice in a Torch zip": bad(torch_zip(DATA), "duplicate_entry"),
    "archives in each other without end": bad(weighing(nested(12), "a.zip"), "bad_zip"),
    "an inner archive that inflates too far": bad(
        weighing(zip_of({"a": bytes(200_000)}, method=DEFLATED), "a.zip"),
        "too_large",
        limits=replace(DEFAULTS, expanded=50_000),
    ),
    "inner archives of too many entries": bad(
        weighing(zip_of({str(n): b"" for n in range(20)}), "a.zip"),
        "too_many_entries",
        limits=replace(DEFAULTS, entries=15),
    ),
}
