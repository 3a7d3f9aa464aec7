"""Start a program that ends with us, also when we are killed: `python die_with_parent.py PARENT_PID -- COMMAND…`.

A program of its own, because a `preexec_fn` may deadlock in a process with threads. The kernel ends the child when the
*thread* that spawned it ends: spawn from one that lives as long as the child should. Only Linux can do this; elsewhere
the command runs without it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def command(argv: Sequence[str]) -> list[str]:
    """Return the command line that runs `argv` as a child which ends with the calling process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), "--", *argv]


def tie_to_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends; exits if that has happened already."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(f"process {parent} has ended; {sys.argv} is not started")


def main() -> None:
    match sys.argv[1:]:
        case [parent, "--", *argv] if argv and parent.isdecimal():
            tie_to_parent(int(parent))
            os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
        case _:
            sys.exit(f"usage: {sys.argv[0]} PARENT_PID -- COMMAND [ARGUMENT…]")


if __name__ == "__main__":
    main()
