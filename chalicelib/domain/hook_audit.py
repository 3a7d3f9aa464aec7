"""What is kept of each call of a hook, and how refused ones are kept from filling a disk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from chalicelib.domain.refs import is_legal

MOST_REFUSED = 60  # lines of refused calls in a minute; the others are counted
_MINUTE = timedelta(minutes=1)


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    IGNORED = "ignored"  # a true call that asks for nothing
    REFUSED = "refused"
    REPEATED = "repeated"  # a true call that was taken before


@dataclass(frozen=True)
class AuditLine:
    """One call. Never its secret, its signature or its body; `call` is known of calls that are proven only."""

    at: datetime
    hook: str
    outcome: Outcome
    why: str = ""
    call: str = ""
    action: str = ""
    endpoint: str = ""
    rollout: str = ""
    body_sha256: str = ""
    left_out: int = 0  # refused calls before this one that have no line

    def to_json(self) -> Mapping[str, Any]:
        shown = {**asdict(self), "at": self.at.isoformat(), "hook": self.hook if is_legal(self.hook) else "(no name)"}
        return {name: value for name, value in shown.items() if value or name in {"at", "hook", "outcome"}}


@dataclass(frozen=True)
class Minute:
    """How many refused calls had lines since a moment, and how many had none."""

    begun: datetime
    told: int = 0
    left_out: int = 0


def tell(line: AuditLine, minute: Minute | None) -> tuple[AuditLine | None, Minute | None]:
    """Return the line to write, None where it is one refused call too many, and what to remember."""
    if line.outcome is not Outcome.REFUSED:
        return line, minute
    if minute is None or not minute.begun <= line.at < minute.begun + _MINUTE:
        left_out = minute.left_out if minute else 0
        return replace(line, left_out=left_out), Minute(line.at, told=1)
    if minute.told < MOST_REFUSED:
        return line, replace(minute, told=minute.told + 1)
    return None, replace(minute, left_out=minute.left_out + 1)
