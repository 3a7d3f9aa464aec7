"""The small program that puts up a replica's walls and becomes the replica.

Run as `python -I -S jail.py` with its orders as JSON on stdin (sandbox.orders says what they mean). It imports nothing
of ours and little of anything, because it runs with our rights until it has dropped them. With a process namespace it
stays as two small processes: the outer one, which passes SIGTERM on and dies with the platform, and the namespace's
first process, with whose death the kernel ends everything inside.
"""

# pathlib would be a good part of what this program imports.
# ruff: noqa: PTH102, PTH103, PTH106, PTH112, PTH120, PTH123, PTH211

import ctypes
import json
import os
import resource
import select
import signal
import sys
from typing import Any, NoReturn

FAILED = 125  # the jail itself did not stand; what went wrong is on stderr
NEW_MOUNTS, NEW_UTS, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USER, NEW_PIDS, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
ATTR_RDONLY, ATTR_NOSUID = 0x1, 0x2
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    orders = json.load(sys.stdin)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        die_with(orders["parent"])
        enter(orders)
    except (OSError, ValueError) as error:
        print(json.dumps({"event": "jail_failed", "error": f"the sandbox: {error}"}), file=sys.stderr, flush=True)
        os._exit(FAILED)


def enter(orders: dict[str, Any]) -> NoReturn:
    set_limits(orders["limits"])
    if orders["user_namespace"]:
        enter_user_namespace()
    if not orders["process_namespace"]:
        put_up_walls(orders)
        drop_rights(orders["uid"])
        become(orders, parent=orders["parent"])
    unshare(NEW_PIDS)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    alive, held = os.pipe()
    if inner := os.fork():
        os.close(alive)
        pass_on_and_wait(inner)
    os.close(held)
    die_with_holder(alive)
    put_up_walls(orders)
    drop_rights(orders["uid"])
    die_with_holder(alive)  # again: a change of uid clears it
    if replica := os.fork():
        pass_on_and_wait(replica)
    become(orders, parent=1)


def set_limits(limits: dict[str, int]) -> None:
    for name, wanted in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def enter_user_namespace() -> None:
    """Become all-powerful inside a namespace of our own; outside nothing changes."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(NEW_USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def put_up_walls(orders: dict[str, Any]) -> None:
    if orders["network_namespace"]:
        unshare(NEW_NETWORK | NEW_IPC | NEW_UTS)
    if orders["root"]:
        unshare(NEW_MOUNTS)
        make_root(orders)
    os.chdir(orders["folder"])


def make_root(orders: dict[str, Any]) -> None:
    """Make a root that holds only what is listed, and leave the old one."""
    os.umask(0o022)
    root = orders["root"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)  # nothing that we mount may show outside
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m")
    for path, size in orders["tmpfs"].items():
        os.makedirs(root + path, exist_ok=True)
        mount("tmpfs", root + path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={size}")
    for path in orders["read_only"]:
        bind(path, root + path)
        set_attributes(root + path, ATTR_RDONLY | ATTR_NOSUID)
    for path in orders["writable"]:
        bind(path, root + path)
        set_attributes(root + path, ATTR_NOSUID)
    for path, target in orders["links"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)
    for path, text in orders["files"].items():
        write(root + path, text)
    show_processes(root, own=orders["process_namespace"])
    change_root(root)


def bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        write(target, "")
    mount(source, target, None, MS_BIND | MS_REC)


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def show_processes(root: str, *, own: bool) -> None:
    os.makedirs(root + "/proc", exist_ok=True)
    if own:
        mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    else:
        mount("/proc", root + "/proc", None, MS_BIND | MS_REC)


def change_root(root: str) -> None:
    old = root + "/.old"
    os.mkdir(old)
    check(libc.pivot_root(root.encode(), old.encode()), "pivot_root")
    os.chdir("/")
    check(libc.umount2(b"/.old", DETACH), "leaving the old root")
    os.rmdir("/.old")
    set_attributes("/", ATTR_RDONLY, recursive=False)


def drop_rights(uid: int | None) -> None:
    """Give up every capability, for good, and with a uid of its own every right that our user has."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    for capability in range(last + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused where we have no right to drop: then nothing is held
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    check(libc.capset(header, (ctypes.c_uint32 * 6)()), "giving up capabilities")
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def become(orders: dict[str, Any], *, parent: int) -> NoReturn:
    die_with(parent)  # last: a fork and a change of uid clear it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.execve(orders["command"][0], orders["command"], orders["environment"])  # noqa: S606  a list, never a shell


def die_with(parent: int) -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(FAILED)


def die_with_holder(alive: int) -> None:
    """As die_with, from a new process namespace, where the parent's id is not to be seen."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    watch = select.poll()
    watch.register(alive, select.POLLHUP)
    if watch.poll(0):
        os._exit(FAILED)


def pass_on_and_wait(child: int) -> NoReturn:
    """Pass SIGTERM on to the child, reap whatever ends, and end as the child did."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def unshare(flags: int) -> None:
    check(libc.unshare(flags), f"unshare({flags:#x})")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    done = libc.mount(
        source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), options.encode()
    )
    check(done, f"mounting {source} at {target}")


def set_attributes(path: str, attributes: int, *, recursive: bool = True) -> None:
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    done = libc.syscall(
        MOUNT_SETATTR, AT_FDCWD, path.encode(), ctypes.c_uint(flags), wanted, ctypes.c_size_t(ctypes.sizeof(wanted))
    )
    check(done, f"restricting {path}")


def prctl(option: int, value: int) -> None:
    check(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option})")


def check(done: int, what: str) -> None:
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
