"""What this machine is: its interpreter, its devices, and which walls really stand on it."""

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chalicelib.local.fleet import sandbox
from chalicelib.local.fleet.folders import remove
from chalicelib.local.fleet.process import Process
from chalicelib.local.fleet.sandbox import Cell, Host, Walls

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_CPUS = ("/sys/devices/system/cpu", "/sys/devices/system/node")  # how OpenMP and TensorFlow count them
_STREAMS = {"/dev/fd": "/proc/self/fd", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2"}
_LONGEST_SOCKET = 107  # bytes that the kernel takes
# Loads the interpreter's own libraries and uses every place that a replica needs.
_TRIAL = """
import ctypes, os, pathlib, ssl, sys
pathlib.Path(sys.argv[1], "trial").touch()
for path in sys.argv[2:]:
    os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
"""


@dataclass(frozen=True)
class Isolation:
    """The walls that stand here, and a sentence for each that doesn't."""

    walls: Walls
    report: tuple[str, ...]


def this_host(server_path: Path) -> Host:
    """Return what replicas are shown of this machine."""
    nvidia = sorted(str(path) for path in Path("/dev").glob("nvidia*"))
    interpreter = Path(sys.executable).resolve().parent.parent
    shown = [*_SYSTEM, *_FILES, sys.prefix, sys.base_prefix, str(interpreter), str(server_path)]
    shown += ["/sys"] if nvidia else _CPUS  # the driver looks for its devices there
    return Host(
        read_only=tuple(path for path in shown if Path(path).exists() and not _is_link(path)),
        devices=(*(f"/dev/{name}" for name in _DEVICES), *nvidia),
        links={path: str(Path(path).readlink()) for path in _SYSTEM if _is_link(path)} | _STREAMS,
        has_gpu=bool(nvidia),
    )


def _is_link(path: str) -> bool:
    return path in _SYSTEM and Path(path).is_symlink()


def make_runtime_folder() -> Path:
    """Make a short private folder for sockets; raises OSError where only a long one can be had."""
    for parent in (tempfile.gettempdir(), "/tmp", "/run"):  # noqa: S108  made private by mkdtemp
        if len(os.fsencode(parent)) + len("/md-12345678/99999/s/s") <= _LONGEST_SOCKET and os.access(parent, os.W_OK):
            folder = Path(tempfile.mkdtemp(prefix="md-", dir=parent))
            folder.chmod(0o711)  # replicas with a user of their own reach their own folder in it, and can't list it
            return folder
    raise OSError(f"no folder for sockets: {tempfile.gettempdir()!r} is too long a path; set TMPDIR to a short one")


def isolation(host: Host, runtime: Path, models: Path) -> Isolation:
    """Return the strongest walls that stand, each set tried with a real process."""
    for walls in sandbox.candidates(is_root=os.geteuid() == 0):
        if stands(walls, host, runtime, models):
            return Isolation(walls, tuple(sandbox.missing(walls)))
    raise OSError(f"a process can't be started with {sys.executable}, not even without a sandbox")


def stands(walls: Walls, host: Host, runtime: Path, models: Path) -> bool:
    """Tell whether a process behind these walls gets at what it needs."""
    with (
        _trial_model(sandbox.models_folder(walls, models, runtime)) as model,
        open_cell(runtime, walls, model) as cell,
    ):
        process = Process.start(
            walls,
            cell,
            host,
            command=[sys.executable, "-B", "-c", _TRIAL, str(cell.socket.parent), str(model), *host.read_only],
            environment={"TMPDIR": str(sandbox.scratch_of(walls, cell))},
            memory_mb=64,
        )
        return process.output()[0] == 0


@contextlib.contextmanager
def _trial_model(models: Path) -> Iterator[Path]:
    models.mkdir(parents=True, exist_ok=True)
    models.chmod(0o711)
    model = Path(tempfile.mkdtemp(prefix=".trial-", dir=models))
    try:
        model.chmod(0o555)
        yield model
    finally:
        model.rmdir()


@contextlib.contextmanager
def open_cell(runtime: Path, walls: Walls, model: Path) -> Iterator[Cell]:
    """Make a replica's own folder, with a number that no other in use has, and remove it in the end."""
    cell = next(filter(_is_made, (Cell(runtime / str(n), model, number=n) for n in itertools.count(1))))
    try:
        cell.folder.chmod(0o711)
        cell.root.mkdir()
        for own in (cell.socket.parent, cell.scratch):
            own.mkdir(mode=0o700)
            if walls.own_uid:
                os.chown(own, cell.uid, cell.uid)
        yield cell
    finally:
        remove(cell.folder)


def _is_made(cell: Cell) -> bool:
    try:
        cell.folder.mkdir()
    except FileExistsError:
        return False
    return True
