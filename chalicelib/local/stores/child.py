"""A store's own process: started tied to us, awaited, stopped."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chalicelib.domain.errors import Rejected
from chalicelib.local import die_with_parent

# Below the range that kernels give to outgoing connections, so that a port is free again at the next start.
PORTS = range(20000, 32000)
# What a program needs to run here; no credential is among them.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "XDG_CACHE_HOME")
TAIL = 2000  # characters of a log in an error
GRACE = 10.0  # seconds between asking a process to end and ending it


def is_free(port: int) -> bool:
    """Tell whether a server could listen on that port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listens(port: int) -> bool:
    """Tell whether somebody takes connections on that port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    return next(port for port in random.sample(PORTS, len(PORTS)) if is_free(port))


def plain_environment(**more: str) -> dict[str, str]:
    """Return a built environment: nothing is inherited but what a program needs to run."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | more


@dataclass(frozen=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def spawn(
        cls, name: str, argv: Sequence[str], *, env: Mapping[str, str], log: Path, keep_open: Sequence[int] = ()
    ) -> "Child":
        """Start a process that ends with the calling thread; its output goes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with log.open("wb") as output:
            process = subprocess.Popen(
                die_with_parent.command(argv),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=keep_open,
                start_new_session=True,  # Ctrl-C is for us: we stop it when what uses it has drained
            )
        return cls(name, process, log)

    def wait_until(self, answers: Callable[[], bool], seconds: float) -> None:
        """Wait until it answers; raises Rejected, with the end of its log, when it ends or stays silent."""
        deadline = time.monotonic() + seconds
        while not answers():
            if self.process.poll() is not None:
                raise self._failed(f"ended with status {self.process.returncode}")
            if time.monotonic() > deadline:
                raise self._failed(f"does not answer after {seconds:.0f} s")
            time.sleep(0.05)

    def stop(self, grace: float = GRACE) -> None:
        """Ask it to end, and end it if it doesn't."""
        self.process.terminate()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _failed(self, how: str) -> Rejected:
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
        return Rejected(f"{self.name} {how}; the end of {self.log}:\n{tail}", code="store_failed")
