"""Which walls a replica gets: what to put up, what this host can't, and the orders for the jail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
FIRST_UID = 59_000  # replicas' own users: no account is made for them
THREADS = 4096  # of one replica
OPEN_FILES = 65_536
SCRATCH = ("/tmp", "/dev/shm")  # noqa: S108  file systems in memory, of each replica's own


@dataclass(frozen=True)
class Walls:
    """What separates a replica from the host. Each may be missing: kernels, containers and rights differ."""

    files: bool  # a root of its own that holds only what it needs
    processes: bool  # it sees its own processes only, and all of them end with it
    network: bool  # no network at all
    own_uid: bool  # a user of its own
    user_namespace: bool = False  # how a user without rights puts up the others


FULL = Walls(files=True, processes=True, network=True, own_uid=True)
NONE = Walls(files=False, processes=False, network=False, own_uid=False)


def candidates(*, is_root: bool) -> list[Walls]:
    """Return the walls to try, the strongest first; the first that stand are used for every replica."""
    ranked = [
        FULL,
        Walls(files=True, processes=False, network=True, own_uid=True),
        Walls(files=True, processes=True, network=True, own_uid=False, user_namespace=True),
        Walls(files=True, processes=False, network=True, own_uid=False, user_namespace=True),
        Walls(files=False, processes=False, network=True, own_uid=True),
        Walls(files=False, processes=False, network=False, own_uid=True),
        Walls(files=False, processes=False, network=True, own_uid=False, user_namespace=True),
        NONE,
    ]
    return [walls for walls in ranked if is_root or not walls.own_uid]


def missing(walls: Walls) -> list[str]:
    """Return what this host can't give, each as a sentence that says what it means and what is in the way."""
    said = {
        "files": "Replicas see this machine's files, as far as their user may read them: mounting is not allowed here.",
        "processes": "Replicas see this machine's processes, and what a replica started may outlive the platform: "
        "a process namespace is not allowed here.",
        "network": "Replicas can reach the network, this machine's own services included: "
        "a network namespace is not allowed here.",
        "own_uid": "Replicas run as the platform's own user: a user for each takes root with its full rights.",
    }
    sentences = [sentence for wall, sentence in said.items() if not getattr(walls, wall)]
    if not (walls.files or walls.own_uid):
        sentences.append(
            "So a model's code can read the registry and the store's credentials: run only code you trust."
        )
    return sentences


@dataclass(frozen=True)
class Cell:
    """One replica's places: `folder` is its own (socket, scratch where it has no root of its own)."""

    folder: Path
    model: Path
    number: int  # of all cells in use, no two have the same

    @property
    def socket(self) -> Path:
        return self.folder / "s" / "s"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def scratch(self) -> Path:
        return self.folder / "tmp"

    @property
    def uid(self) -> int:
        return FIRST_UID + self.number


@dataclass(frozen=True)
class Host:
    """What of this machine a replica is shown, all of it read-only but the devices."""

    read_only: tuple[str, ...]
    devices: tuple[str, ...]
    links: Mapping[str, str]
    has_gpu: bool


def orders(
    walls: Walls,
    cell: Cell,
    host: Host,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    memory_mb: int,
    platform: tuple[int, int],
) -> dict[str, object]:
    """Return what the jail is told, as JSON values. `platform` is our process and our user."""
    parent, user = platform
    uid = cell.uid if walls.own_uid else None
    return {
        "parent": parent,
        "command": list(command),
        "environment": dict(environment),
        "folder": environment["TMPDIR"],
        "user_namespace": walls.user_namespace,
        "process_namespace": walls.processes,
        "network_namespace": walls.network,
        "uid": uid,
        "root": str(cell.root) if walls.files else "",
        "tmpfs": dict.fromkeys(SCRATCH, memory_mb * MIB),
        "read_only": _outermost([*host.read_only, str(cell.model)]),
        "writable": [*host.devices, str(cell.socket.parent)],
        "links": dict(host.links),
        "files": _accounts(uid or user),
        "limits": _limits(walls),
    }


def scratch_of(walls: Walls, cell: Cell) -> Path:
    """Return TMPDIR: a file system in memory of the replica's own, else a folder that is watched."""
    return Path(SCRATCH[0]) if walls.files else cell.scratch


def models_folder(walls: Walls, models: Path, runtime: Path) -> Path:
    """Return where models are fetched to: another user without a root of its own can't reach into our home."""
    return runtime / "models" if walls.own_uid and not walls.files else models


def _limits(walls: Walls) -> dict[str, int]:
    """Return resource limits. Processes are counted by user, so only a user of its own can have a limit."""
    always = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": OPEN_FILES}
    return always | ({"RLIMIT_NPROC": THREADS} if walls.own_uid else {})


def _accounts(uid: int) -> dict[str, str]:
    """Return the two files that make `getpass.getuser` and the like work, and name nobody of the host."""
    own = f"replica:x:{uid}:{uid}::/tmp:/usr/sbin/nologin\n" if uid else ""
    group = f"replica:x:{uid}:\n" if uid else ""
    return {
        "/etc/passwd": "root:x:0:0::/:/usr/sbin/nologin\n" + own,
        "/etc/group": "root:x:0:\n" + group,
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


def _outermost(paths: Sequence[str]) -> list[str]:
    """Return the paths without those that lie within another."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path == other or path.startswith(other + "/") for other in kept):
            kept.append(path)
    return kept
