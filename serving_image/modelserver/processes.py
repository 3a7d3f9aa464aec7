"""Several whole servers behind one socket, for models whose calls are short: there Python is what takes the time.

Each has a model of its own and takes connections itself, so nothing is handed from one to another on the way of a
request. The process that was started only looks after them: it holds no model, starts one
after the other (the next when the last is ready, so that the first is ready as soon as if it were alone), and replaces
one that ends. It forks before anything has threads.
"""

import ctypes
import os
import signal
from collections.abc import Callable
from typing import TypeAlias

from modelserver.log import emit

PR_SET_PDEATHSIG = 1
READY = b"r"
TOLD = (signal.SIGTERM, signal.SIGINT)
CRASHED = 1
SayReady: TypeAlias = Callable[[], None]
# Serves as the process of that number and returns its exit status; the flag is True for the first that is ever started.
Serve: TypeAlias = Callable[[int, bool, SayReady], int]


class Processes:
    """`run` serves until SIGTERM and returns the exit status of the whole."""

    def __init__(self, count: int, serve: Serve, gone: Callable[[int], None]) -> None:
        self._count = count
        self._serve = serve
        self._gone = gone
        self._numbers: dict[int, int] = {}
        self._is_stopping = False
        self._is_first = True

    def run(self) -> int:
        """Serve until told to stop; a process that is never ready ends all with its own status."""
        for number in TOLD:
            signal.signal(number, lambda *_: self._stop())
        failed = next((status for n in range(self._count) if (status := self._started(n))), 0)
        while self._numbers and not failed:
            pid, status = os.waitpid(-1, 0)
            failed = self._replaced(self._numbers.pop(pid), status)
        self._stop()
        self._await_all()
        return failed

    def _replaced(self, number: int, status: int) -> int:
        self._gone(number)
        if self._is_stopping:
            return 0
        emit("process_ended", process=number, status=os.waitstatus_to_exitcode(status))
        return self._started(number)

    def _started(self, number: int) -> int:
        """Start a process and wait until it is ready; return 0, or the status with which it ended before."""
        if self._is_stopping:
            return 0
        read, write = os.pipe()
        # Being told to stop waits until the process is known, or nobody would tell it.
        signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
        pid = os.fork()
        if not pid:
            os.close(read)
            self._be(number, write)
        self._numbers[pid] = number
        self._is_first = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
        os.close(write)
        said = os.read(read, len(READY))
        os.close(read)
        return 0 if said == READY or self._is_stopping else self._ended_early(pid)

    def _ended_early(self, pid: int) -> int:
        _, status = os.waitpid(pid, 0)
        del self._numbers[pid]
        code = os.waitstatus_to_exitcode(status)
        return code if code > 0 else CRASHED

    def _be(self, number: int, ready: int) -> None:
        """Be the child: it ends with the parent, whatever ends that."""
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for each in TOLD:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
        status = CRASHED
        try:
            status = self._serve(number, self._is_first, lambda: _say(ready))
        finally:
            os._exit(status)

    def _stop(self) -> None:
        self._is_stopping = True
        for pid in self._numbers:
            os.kill(pid, signal.SIGTERM)

    def _await_all(self) -> None:
        for pid in list(self._numbers):
            os.waitpid(pid, 0)


def _say(ready: int) -> None:
    os.write(ready, READY)
    os.close(ready)
