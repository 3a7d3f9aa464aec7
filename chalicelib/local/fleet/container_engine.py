"""What runs containers on this machine, Docker where its daemon answers, else Podman; and what of it really works here.

Each command is short and is waited for, so nothing here may be called on the fleet's loop.
"""

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chalicelib.domain.errors import Rejected
from chalicelib.local.fleet.fetch import Abandoned
from chalicelib.local.home import Home

_PATIENCE_S = 60.0
_MOMENT_S = 0.2
_TRIAL = "localhost/modeldrop-trial:1"  # an image of nothing: what runs in it is this machine's own
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin")
_FILES, _PROCESSES = 65_536, 4096
ROOT_NEEDED = "containers are run only by a platform that runs as root: it gives each a user of its own"
NONE_HERE = "neither a Docker daemon nor Podman runs containers here: install podman and runc, or start Docker"


@dataclass(frozen=True)
class Engine:
    """A program that runs containers. `own_network` and `memory` say what it can give each of them here."""

    command: tuple[str, ...]
    own_network: bool = True
    memory: bool = True

    @property
    def is_podman(self) -> bool:
        return self.command[0] == "podman"

    @property
    def report(self) -> tuple[str, ...]:
        """Return what is missing, each as a sentence that says what it means."""
        said = {
            "own_network": "Containers share this machine's network, and each needs a port of its own: "
            "a network namespace is not allowed here.",
            "memory": "Containers' memory is only watched, not limited by the kernel: no memory cgroup is usable here.",
        }
        return tuple(sentence for wall, sentence in said.items() if not getattr(self, wall))

    def say(self, *words: str, patience: float = _PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """Run one command of it; a failure is in what is returned, and so is running out of patience."""
        command = [*self.command, *words]
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=patience,
                start_new_session=True,  # Ctrl-C is ours to answer: what clears away must not end by it
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"it took longer than {patience:g} s")

    def resolve(self, image: str, is_wanted: Callable[[], bool] = lambda: True) -> str:
        """Return the id of an image, fetched if it isn't here.

        Raises Rejected with what the engine says, Abandoned when `is_wanted` turns false while it is fetched.
        """
        found = self._id(image)
        if not found:
            said = self._pull(image, is_wanted)
            found = self._id(image)
            if not found:
                raise Rejected(f"image {image} isn't here and can't be fetched: {said}", code="no_image")
        return found

    def _pull(self, image: str, is_wanted: Callable[[], bool]) -> str:
        """Fetch an image; return the last line that was said of it."""
        with tempfile.TemporaryFile("w+") as printed:
            command = [*self.command, "pull", image]
            pull = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True
            )
            while not _ended(pull):
                if not is_wanted():
                    pull.kill()
                    pull.wait()
                    raise Abandoned
            printed.seek(0)
            return _last_line(printed.read()) or f"status {pull.returncode}"

    def _id(self, image: str) -> str:
        done = self.say("image", "inspect", "--format", "{{.Id}}", image)
        return f"sha256:{done.stdout.strip().removeprefix('sha256:')}" if done.returncode == 0 else ""

    def pid(self, name: str) -> int:
        """Return the first process of a container as this machine sees it; 0 until it runs."""
        done = self.say("inspect", "--format", "{{.State.Pid}}", name)
        return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdecimal() else 0

    def end(self, name: str) -> None:
        """Kill a container and remove it; nothing happens where there is none."""
        self.say("kill", name)
        self.say("rm", "--force", name)

    def sweep(self, prefix: str) -> None:
        """End all containers whose names begin with a prefix."""
        listed = self.say("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{prefix}")
        for name in listed.stdout.split():
            if name.startswith(prefix):
                self.end(name)


def prefix_of(home: Home) -> str:
    """Return how the names of all containers of a home begin."""
    return f"modeldrop-{hashlib.sha256(os.fsencode(home.root.resolve())).hexdigest()[:10]}-"


def limits() -> list[str]:
    """Return the flags of resource limits: never above our own, which nothing without rights could be given."""
    files = _at_most(resource.RLIMIT_NOFILE, _FILES)
    processes = _at_most(resource.RLIMIT_NPROC, _PROCESSES)
    return [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}", "--ulimit=core=0:0"]


def _at_most(kind: int, wanted: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def find_engine() -> Engine:
    """Return what runs containers here, each set of walls tried with a real one; raises Rejected where nothing does."""
    if os.geteuid() != 0:
        raise Rejected(ROOT_NEEDED, code="no_containers")
    said = NONE_HERE
    for engine in filter(_answers, _installed()):
        for tried in _candidates(engine):
            done = _tried(tried)
            if done.returncode == 0:
                return tried
            said = f"{engine.command[0]} can't run a container here: {_last(done)}"
    raise Rejected(said, code="no_containers")


def _installed() -> list[Engine]:
    # runc, where it is there, stands with every version of cgroups; crun refuses a mixture of two.
    runtime = ("--runtime=runc",) if shutil.which("runc") else ()
    known = [Engine(("docker",)), Engine(("podman", *runtime))]
    return [engine for engine in known if shutil.which(engine.command[0])]


def _answers(engine: Engine) -> bool:
    return engine.say("version").returncode == 0


def _candidates(engine: Engine) -> list[Engine]:
    ranked = [(True, True), (True, False), (False, True), (False, False)]
    return [replace(engine, own_network=network, memory=memory) for network, memory in ranked]


def _tried(engine: Engine) -> subprocess.CompletedProcess[str]:
    """Run a program of this machine in a container behind the walls that every container gets."""
    if engine.say("image", "inspect", _TRIAL).returncode != 0:
        done = _import_nothing(engine)
        if done.returncode != 0:
            return done
    mounts = [f"--volume={path}:{path}:ro" for path in _SYSTEM if Path(path).exists()]
    walls = wall_flags(engine, uid=65_534, memory_mb=64)
    return engine.say("run", "--rm", *walls, *mounts, _TRIAL, "/usr/bin/true")


def _import_nothing(engine: Engine) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(file.name, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("nothing"))
        return engine.say("import", file.name, _TRIAL)


def wall_flags(engine: Engine, *, uid: int, memory_mb: int) -> list[str]:
    """Return the flags that every container gets, whatever it is."""
    # A little above what is watched, so that people read our sentence and not only "killed by SIGKILL".
    memory = f"{memory_mb * 11 // 10 + 16}m"
    return [
        f"--network={'none' if engine.own_network else 'host'}",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--user={uid}:{uid}",
        f"--tmpfs=/tmp:rw,nosuid,nodev,mode=1777,size={memory_mb}m",
        f"--pids-limit={_PROCESSES}",
        *limits(),
        *([f"--memory={memory}", f"--memory-swap={memory}"] if engine.memory else []),
        "--log-driver=none",
        "--no-healthcheck",
        *(["--http-proxy=false", "--image-volume=tmpfs"] if engine.is_podman else []),
    ]


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait a moment; tell whether it has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_MOMENT_S)
    return process.returncode is not None


def _last(done: subprocess.CompletedProcess[str]) -> str:
    return _last_line(done.stdout + done.stderr) or f"status {done.returncode}"


def _last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""
