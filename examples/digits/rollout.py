"""Following a rollout through the control API, as a CI system would: ask, compare, ask again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from picture import Asked
from platform_here import Control, Platform

ENDPOINT = MODEL = "digits"
OPEN = ("starting", "stepping")
LOOK_EVERY_S = 0.4
DEADLINE_S = 150


class NotRolledOut(Exception):
    """A dropped version didn't get as far as it should have; the message says why."""


@dataclass
class Watch:
    """Looks at the endpoint `digits`, and remembers every split that it saw."""

    control: Control
    platform: Platform
    clock: Callable[[], float]  # seconds on the picture's axis
    splits: list[Asked] = field(default_factory=list)

    def until_ended(self, version: str, tell: Callable[[str], None]) -> Mapping[str, Any]:
        """Return a version's rollout when it has ended; raises NotRolledOut, or Stopped with the platform."""
        deadline = time.monotonic() + DEADLINE_S
        state = "nothing seen of it"
        while time.monotonic() < deadline:
            self.platform.check()
            endpoint = self.control.get(f"/v1/endpoints/{ENDPOINT}")
            self._remember_split(endpoint)
            live = (endpoint or {}).get("rollout")
            if live and live["version_id"] == version:
                state = describe(live)
            elif (found := self._rollout(version)) and found["phase"] not in OPEN:
                return found
            else:
                state = self._arrival(version)
            tell(state)
            time.sleep(LOOK_EVERY_S)
        raise NotRolledOut(f"{version} came to no end within {DEADLINE_S} s; last seen: {state}")

    def format_of(self, version: str) -> str:
        return str(self.control.get(f"/v1/models/{MODEL}/versions/{version}")["format"])

    def _rollout(self, version: str) -> Mapping[str, Any] | None:
        listed = (self.control.get("/v1/rollouts", endpoint=ENDPOINT) or {}).get("rollouts", [])
        return next((each for each in reversed(listed) if each["version_id"] == version), None)

    def _arrival(self, version: str) -> str:
        """Say how far an upload is; raises NotRolledOut when it was rejected."""
        seen = self.control.get(f"/v1/models/{MODEL}/versions/{version}")
        if seen is None:
            return "uploaded; not seen yet"
        if seen["status"] in {"rejected", "unservable"}:
            said = "; ".join(finding["message"] for finding in seen["findings"])
            raise NotRolledOut(f"{version} is {seen['status']}: {said or seen.get('unservable', '')}")
        return str(seen["status"]) + (f"; missing {', '.join(seen['missing'])}" if seen["missing"] else "")

    def _remember_split(self, endpoint: Mapping[str, Any] | None) -> None:
        weights = weights_by_version(endpoint) if endpoint else {}
        if weights and (not self.splits or self.splits[-1].weights != weights):
            self.splits.append(Asked(self.clock(), weights))


def weights_by_version(endpoint: Mapping[str, Any]) -> dict[str, int]:
    """Return the split as percents by version instead of by deployment."""
    versions = {i: each["version_id"] for i, each in endpoint["deployments"].items()}
    return {versions.get(i, i): int(weight) for i, weight in endpoint["split"].items()}


def describe(live: Mapping[str, Any]) -> str:
    """Say where an open rollout is; what stands in brackets changes with every request."""
    if live["phase"] == "starting":
        return "starting and load testing its deployment"
    judged = live["judgement"]
    needed = f", {judged['samples_needed']} more requests needed" if judged.get("samples_needed") else ""
    return f"canary at {live['weight']} % ({judged['outcome']}{needed})"
