"""What follows from what a replica did: pure decisions, and the sentences that people read."""

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.domain.deployment import FleetState, Running

STEADY_S = 60.0  # ready for so long, and earlier ends are forgotten
MOST_ENDS = 5  # in a row, none of them steady: a crash loop
LONGEST_WAIT_S = 10.0
TAIL_LINES = 8
NOT_STARTED = ("load_failed", "bad_settings", "listen_failed", "jail_failed")  # events whose error is the reason
_SIGNAL_BASE = 128  # how init passes on that its child died of a signal


@dataclass(frozen=True)
class Replica:
    """What is known of one replica."""

    ready: bool = False
    was_ready: bool = False
    digest: str = ""
    restarts: int = 0
    ends: int = 0  # in a row, none of them steady
    reason: str = ""  # of the latest end
    failed: bool = False


@dataclass(frozen=True)
class Restart:
    after_s: float


@dataclass(frozen=True)
class GiveUp:
    reason: str


def after_end(replica: Replica) -> Restart | GiveUp:
    """Return what to do about a replica that ended by itself: its first start is the load test and isn't repeated."""
    if not replica.was_ready:
        return GiveUp(replica.reason)
    if replica.ends >= MOST_ENDS:
        return GiveUp(f"ended {replica.ends} times in a row; the last time: {replica.reason}")
    return Restart(min(LONGEST_WAIT_S, 0.1 * 2**replica.ends))


def running(replicas: Sequence[Replica]) -> Running:
    """Return what a deployment of these replicas is: ready once all were, and while one is."""
    ready = sum(r.ready for r in replicas)
    restarts = sum(r.restarts for r in replicas)
    failed = next((r for r in replicas if r.failed), None)
    if failed:
        return Running(FleetState.FAILED, reason=failed.reason, restarts=restarts)
    is_up = ready > 0 and all(r.was_ready for r in replicas)
    digest, disagreement = _digest(replicas)
    return Running(
        FleetState.READY if is_up else FleetState.STARTING,
        ready=ready,
        digest=digest,
        reason=disagreement or next((r.reason for r in replicas if not r.ready and r.reason), ""),
        restarts=restarts,
    )


def _digest(replicas: Sequence[Replica]) -> tuple[str, str]:
    """Return the one digest that all ready replicas answer, or none and a sentence."""
    answered = sorted({r.digest for r in replicas if r.ready})
    if len(answered) > 1:
        return "", f"replicas answer different digests: {', '.join(answered)}"
    return (answered or [""])[0], ""


def how_it_ended(code: int, log: Sequence[str]) -> str:
    """Return the model's own error where it said one, else how the process ended and its last lines."""
    return own_error(log) or f"{_exit(code)}{last_lines(log)}"


def own_error(log: Sequence[str]) -> str:
    """Return the error of the newest line that says why it didn't start."""
    for line in reversed(log):
        event = _event(line)
        if event.get("event") in NOT_STARTED:
            where = event.get("where")
            return f"{event.get('error', '')}" + (f" ({where})" if where else "")
    return ""


def _event(line: str) -> dict[str, object]:
    if not line.startswith("{"):
        return {}
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _exit(code: int) -> str:
    number = -code if code < 0 else code - _SIGNAL_BASE
    if number in set(signal.Signals):
        return f"killed by {signal.Signals(number).name}"
    return f"exited with status {code}"


def last_lines(log: Sequence[str]) -> str:
    """Return the end of a log as the end of a sentence."""
    tail = [line for line in log if line.strip()][-TAIL_LINES:]
    return "; the last lines of its log: " + " | ".join(tail) if tail else "; it logged nothing"


def too_slow(seconds: float, log: Sequence[str]) -> str:
    return f"did not get ready in {seconds:g} s{last_lines(log)}"


def too_big(used_mb: float, limit_mb: int) -> str:
    return f"used {used_mb:.0f} MB, memory_mb is {limit_mb}"
