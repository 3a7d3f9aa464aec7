"""How transitions get their ids: from what happened, so that a repeat has the same one."""

import hashlib
from datetime import datetime
from typing import Any

from chalicelib.domain.rollout import Rollout
from chalicelib.domain.transition import Transition


def transition(kind: str, subject: str, message: str, *, at: datetime, once: str, **data: Any) -> Transition:
    """Return a transition whose id follows from its kind, its subject and `once` (what makes it this one)."""
    name = hashlib.sha256(f"{kind}\0{subject}\0{once}".encode()).hexdigest()[:24]
    return Transition(id=name, kind=kind, subject=subject, at=at, message=message, data=data)


def of_rollout(kind: str, rollout: Rollout, message: str, *, at: datetime, **data: Any) -> Transition:
    """Return a transition of a rollout; its step, extension and start tell one from the next of the same kind."""
    once = f"{rollout.id}\0{rollout.step}\0{rollout.extensions}\0{rollout.wish}\0{rollout.paused}"
    once += f"\0{rollout.canary.id}" if rollout.start_since else ""  # on another instance type
    name = hashlib.sha256(f"{kind}\0{once}".encode()).hexdigest()[:24]
    about = {"endpoint": rollout.endpoint, "version": str(rollout.ref), **data}
    return Transition(
        id=name, kind=kind, subject=rollout.endpoint, at=at, message=message, rollout=rollout.id, data=about
    )
