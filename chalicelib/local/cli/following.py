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

_POLL = 0.5  # seconds between two looks at what just changed
_SLOWEST = 5.0  # between two at what hasn't for a while
_SLOWER = 1.2  # times, after each look that saw nothing new


@dataclass(frozen=True)
class Sight:
    """What was last seen of a version: what it is doing, and the exit status when that is the end of it."""

    what: str
    status: Status | None = None
    ahead: str = ""  # told with it, but no news by itself


def follow(
    ref: VersionRef, platform: "Platform", *, before: Json, timeout: float, tell: Callable[[str], None]
) -> Sight:
    """Tell what becomes of a version until that is final; `before` is how it was shown before this upload.

    A platform that can't be reached for a while is waited for: it goes on without us, and may be starting anew.
    """
    deadline = time.monotonic() + timeout
    told, pause = "", _POLL
    while (sight := _patiently(ref, platform, before)).status in {None, Status.UNREACHABLE}:
        if sight.what != told:
            told, pause = sight.what, _POLL
            tell("; ".join(filter(None, (told, sight.ahead))))
        if time.monotonic() > deadline:
            raise Ended(sight.status or Status.NOT_YET, f"{ref} is not live after {timeout:.0f} s: {told}")
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * _SLOWER, _SLOWEST)
    return sight


def _patiently(ref: VersionRef, platform: "Platform", before: Json) -> Sight:
    try:
        return look(ref, platform, before)
    except Ended as ended:
        if ended.status is not Status.UNREACHABLE:
            raise
        return Sight(f"{ended}; trying again", Status.UNREACHABLE)


def shown(ref: VersionRef, platform: "Platform") -> Json:
    """Return how the platform shows a version, None where it hasn't seen it."""
    return platform.find(f"/v1/models/{ref.model_id}/versions/{ref.version_id}")


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
    return _rollouts(ref, platform)


def _rollouts(ref: VersionRef, platform: "Platform") -> Sight:
    """Return what the version's newest rollout of each endpoint is doing: all of them have to end well."""
    wanted = (ref.model_id, ref.version_id)
    rollouts = [r for r in platform.all("/v1/rollouts", "rollouts") if (r["model_id"], r["version_id"]) == wanted]
    if not rollouts:
        return Sight("registered" + _held_back(ref, platform))
    newest = {r["endpoint"]: r for r in rollouts}
    what = "; ".join(_in_words(r) for r in newest.values())
    on_the_way = [r for r in newest.values() if r["phase"] not in ENDS]
    if on_the_way:
        return Sight(what, ahead="; ".join(filter(None, (_ahead_of(r, platform) for r in on_the_way))))
    return Sight(what, Status.OK if {r["phase"] for r in newest.values()} == {Phase.PROMOTED} else Status.NO)


def _ahead_of(rollout: Json, platform: "Platform") -> str:
    return ahead(platform.get(f"/v1/rollouts/{rollout['id']}"))


def _in_words(rollout: Json) -> str:
    share = "" if rollout["phase"] in ENDS else f" at {rollout['weight']} %"
    return f"{rollout['endpoint']}: {rollout['phase']}{share}{_because(rollout['reason'])}"


def _held_back(ref: VersionRef, platform: "Platform") -> str:
    """Return which of the model's endpoints have a split by hand, in whose way no rollout opens."""
    endpoints = platform.all("/v1/endpoints", "endpoints")
    held = [e["name"] for e in endpoints if e["manual_split"] and e["owner"] == ref.model_id]
    return f"; {', '.join(held)} has a manual split, which holds rollouts back" if held else ""


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
