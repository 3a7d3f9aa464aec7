"""A server's processes: started, asked until the first right answer, frozen while others are loaded, weighed, ended."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

START_WITHIN_S = 120.0
SETTLED_WITHIN_S = 30.0
SETTLED_S = 0.5
IDLE_SHARE = 0.1  # of one core
MB = 1_000_000
GONE = (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError)


class NotStarted(Exception):
    """A server that gave no right answer; the message ends with its own last words."""


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a server: nothing of our environment but what is said here."""

    arguments: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


class Running:
    """A started server and all that it started."""

    def __init__(self, command: Command, log: Path) -> None:
        self._log = log
        self.began = time.monotonic()
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command.arguments,
                env=dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until_right(self, is_right: Callable[[], bool]) -> float:
        """Ask until an answer is right; return the seconds since the start."""
        while time.monotonic() - self.began < START_WITHIN_S:
            if self._process.poll() is not None:
                raise NotStarted(f"ended with {self._process.returncode}: {self.last_words()}")
            if is_right():
                return time.monotonic() - self.began
            time.sleep(0.05)
        raise NotStarted(f"no right answer within {START_WITHIN_S:g} s: {self.last_words()}")

    def last_words(self) -> str:
        return " | ".join(self._log.read_text(errors="replace").splitlines()[-3:])[-400:]

    def processes(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        return []

    def settle(self) -> None:
        """Wait until it computes nothing more: what has several processes may be ready before all of them are."""
        before, until = self._cpu_seconds(), time.monotonic() + SETTLED_WITHIN_S
        while time.monotonic() < until:
            time.sleep(SETTLED_S)
            now = self._cpu_seconds()
            if now - before < IDLE_SHARE * SETTLED_S:
                return
            before = now

    def _cpu_seconds(self) -> float:
        total = 0.0
        for process in self.processes():
            with suppress(*GONE):
                total += sum(process.cpu_times()[:2])
        return total

    def freeze(self) -> None:
        """Parents first, so that none sees a child stop."""
        _signal(self.processes(), signal.SIGSTOP)

    def thaw(self) -> None:
        _signal(list(reversed(self.processes())), signal.SIGCONT)

    def memory(self) -> "Memory":
        return weigh([p.pid for p in self.processes()])

    def stop(self) -> None:
        self.thaw()
        processes = self.processes()
        _signal(processes[:1], signal.SIGTERM)
        _, left = psutil.wait_procs(processes[1:], timeout=5)
        _signal(left, signal.SIGKILL)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(*GONE):
            os.kill(process.pid, number)


def ask(port: int, path: str, body: bytes, content_type: str, *, accept: str = "application/json") -> tuple[int, bytes]:
    """Ask once on a connection of its own; status 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type, "Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()
    finally:
        connection.close()


# --- memory -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Memory:
    """In MB: resident sets summed, and what is there once (pages that the tree shares count once)."""

    processes: int
    rss_mb: float
    once_mb: float


def weigh(pids: Sequence[int]) -> Memory:
    """Weigh a tree as if it were alone: PSS would give part of Torch's own pages to every other server."""
    maps = [_smaps(pid) for pid in pids]
    rss = sum(_mapped(one, "Rss") for one in maps)
    return Memory(len(pids), rss / MB, counted_once(maps) / MB)


Mapping_ = tuple[str, Mapping[str, int]]


def _mapped(maps: Sequence[Mapping_], name: str) -> int:
    return sum(sizes.get(name, 0) for _, sizes in maps)


def counted_once(maps: Sequence[Sequence[Mapping_]]) -> int:
    """Private pages of all, and of each mapping that several have the most that one of them shares."""
    private = sum(_mapped(one, "Private_Clean") + _mapped(one, "Private_Dirty") for one in maps)
    shared: dict[str, int] = defaultdict(int)
    for one in maps:
        for where, sizes in one:
            shared[where] = max(shared[where], sizes.get("Shared_Clean", 0) + sizes.get("Shared_Dirty", 0))
    return private + sum(shared.values())


def _smaps(pid: int) -> list[Mapping_]:
    try:
        return read_smaps(Path(f"/proc/{pid}/smaps").read_text())
    except GONE:
        return []


def read_smaps(text: str) -> list[Mapping_]:
    """Return each mapping's file, offset and address (memory of no file: its address) with its sizes in bytes."""
    found: list[tuple[str, dict[str, int]]] = []
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            found[-1][1][name] = 1024 * int(rest.split()[0])
        elif "-" in line.split(" ", 1)[0]:
            parts = line.split(maxsplit=5)
            is_file = len(parts) == 6 and parts[5].startswith("/")
            found.append((f"{parts[5]} {parts[2]}" if is_file else parts[0], {}))
    return list(found)
