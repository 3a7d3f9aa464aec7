"""Follow a dropped version until it is live, or until it is clear that it won't be."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import ENDS, Phase
from chalicelib.local.cli.ahead import ahead
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import Json

if TYPE_CHECKING:
    from chalicelib.local.cli.connection import Platform

_POLL = 0.5  # seconds between two looks


@dataclass(frozen=True)
class Sight:
    """What was last seen of a version: what it is doing, and the exit status when that is the end of it."""

    what: str
    status: Status | None = None
    ahead: str = ""  # told with it, but no news by itself


def follow(
    ref: VersionRef, platform: "Platform", *, before: Json, timeout: float, tell: Callable[[str], None]
) -> Sight:
    """Tell what becomes of a version until that is final; `before` is how it was shown before this upload."""
    deadline = time.monotonic() + timeout
    told = ""
    while (sight := look(ref, platform, before)).status is None:
        if sight.what != told:
            told = sight.what
            tell("; ".join(filter(None, (told, sight.ahead))))
        if time.monotonic() > deadline:
            raise Ended(Status.NOT_YET, f"{ref} is not live after {timeout:.0f} s: {told}")
        time.sleep(_POLL)
    return sight


def shown(ref: VersionRef, platform: "Platform") -> Json:
    """Return how the platform shows a version, None where it hasn't seen it."""
    of_model = platform.all("/v1/drops", "drops")
    path = f"/v1/models/{ref.model_id}/versions/{ref.version_id}"
    if any(m["model_id"] == ref.model_id for m in platform.all("/v1/models", "models")):
        versions = platform.all(f"/v1/models/{ref.model_id}/versions", "versions")
        if any(v["version_id"] == ref.version_id for v in versions):
            return platform.get(path)
    return next((d for d in of_model if d["key_prefix"] == ref.prefix), None)


def look(ref: VersionRef, platform: "Platform", before: Json) -> Sight:
    """Return what a version is doing now."""
    version = shown(ref, platform)
    if version is None or version == before:
        return Sight("waiting for the platform to see it")
    match version["status"]:
        case "rejected":
            return Sight("; ".join(f["message"] for f in version["findings"]), Status.NO)
        case "uploading":
            return Sight(f"incomplete: {', '.join(version['missing'])}")
        case "unservable":
            return Sight(version["unservable"], Status.NO)
    return _rollout(ref, platform)


def _rollout(ref: VersionRef, platform: "Platform") -> Sight:
    wanted = (ref.model_id, ref.version_id)
    rollouts = [r for r in platform.all("/v1/rollouts", "rollouts") if (r["model_id"], r["version_id"]) == wanted]
    if not rollouts:
        return Sight("registered")
    newest = rollouts[-1]
    what = f"{newest['endpoint']}: {newest['phase']}"
    if newest["phase"] not in ENDS:
        needs = ahead(platform.get(f"/v1/rollouts/{newest['id']}"))
        return Sight(f"{what} at {newest['weight']} %" + _because(newest["reason"]), ahead=needs)
    what += _because(newest["reason"])
    return Sight(what, Status.OK if newest["phase"] == Phase.PROMOTED else Status.NO)


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
