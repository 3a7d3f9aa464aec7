"""A split of a person's own, such as an A/B test: what happens next to it, and what the endpoint becomes.

It is asked for, waits until each of its deployments is ready with room for its share, is then in force by one write,
and is kept until another one or its end is asked for. Like a rollout's `decide`: same values, same answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from chalicelib.domain.deployment import Deployment, Endpoint, FleetState, Running
from chalicelib.domain.moves import let_go
from chalicelib.domain.split import WHOLE, ManualSplit, Split, rearranged


@dataclass(frozen=True)
class Await:
    """Its deployments are on their way."""

    reason: str


@dataclass(frozen=True)
class Restart:
    """Stop what is left of starts that failed before it was asked for, so that they are made anew."""

    deployments: tuple[str, ...]


@dataclass(frozen=True)
class Divide:
    """The asked split is in force from now on, or the kept one again."""

    reason: str


@dataclass(frozen=True)
class GiveUp:
    """One of its deployments can't answer: what was in force stays so."""

    reason: str


Next = Await | Restart | Divide | GiveUp


def decide_split(endpoint: Endpoint, seen: Mapping[str, Running], now: datetime) -> Next | None:
    """Return what is done about a manual split; None where there is nothing to do."""
    if not endpoint.asked:
        return _drift(endpoint)
    if failed := tuple(id_ for id_ in endpoint.asked.retry if seen[id_].state is FleetState.FAILED):
        return Restart(failed)
    rooms = rooms_of(endpoint, seen)
    found = {id_: _obstacle(endpoint.deployments[id_], seen[id_], rooms[id_]) for id_ in endpoint.asked.weights}
    final = [obstacle.reason for obstacle in found.values() if isinstance(obstacle, GiveUp)]
    waiting = "; ".join(obstacle.reason for obstacle in found.values() if obstacle)
    if final:
        return GiveUp("; ".join(final))
    if waiting and now >= endpoint.asked.until:
        return GiveUp(f"not ready in time: {waiting}")
    return Await(waiting) if waiting else Divide(in_words(endpoint, endpoint.asked))


def rooms_of(endpoint: Endpoint, seen: Mapping[str, Running]) -> dict[str, int]:
    """Return how many replicas each deployment of the asked split needs for its share of what now answers."""
    answering = sum(seen[id_].ready for id_, weight in endpoint.split.weights.items() if weight)
    weights = endpoint.asked.weights if endpoint.asked else {}
    return {id_: max(1, ceil(weight * answering / WHOLE)) for id_, weight in weights.items()}


def _drift(endpoint: Endpoint) -> Divide | None:
    """Restore a split that isn't the one that is kept, whoever changed it."""
    if not endpoint.kept or endpoint.split.weights == endpoint.kept.weights:
        return None
    return Divide(f"the split is {dict(endpoint.split.weights)}: restored to {in_words(endpoint, endpoint.kept)}")


def _obstacle(deployment: Deployment, seen: Running, room: int) -> Await | GiveUp | None:
    """Return what keeps a deployment from its share."""
    if seen.state is FleetState.FAILED:
        return GiveUp(f"{deployment.ref} failed: {seen.reason or 'it said nothing'}")
    if seen.state is not FleetState.READY or not seen.digest:
        return Await(f"{deployment.ref} is {seen.state}")
    if seen.digest != deployment.digest:
        return GiveUp(f"{deployment.ref} answers with digest {seen.digest}, not the registered {deployment.digest}")
    least = min(room, seen.most) if seen.most else 1
    return Await(f"{deployment.ref} has {seen.ready} of {least} ready replicas") if seen.ready < least else None


# --- what the endpoint becomes -----------------------------------------------------------------------------------
def asked_for(
    endpoint: Endpoint, manual: ManualSplit, deployments: Mapping[str, Deployment], now: datetime
) -> Endpoint:
    """Return the endpoint with a split asked for and its deployments to be started; traffic stays as it is."""
    after = replace(endpoint, asked=manual, deployments={**endpoint.deployments, **deployments})
    retiring = {id_: at for id_, at in after.retiring.items() if id_ not in manual.weights}
    return let_go(endpoint, replace(after, retiring=retiring), "", now)


def restarted(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with nothing of its asked split left to be given another start."""
    return replace(endpoint, asked=replace(endpoint.asked, retry=())) if endpoint.asked else endpoint


def divided(endpoint: Endpoint, keep_warm: timedelta, now: datetime) -> Endpoint:
    """Return the endpoint with its asked split in force, else with its kept one restored."""
    manual = endpoint.asked or endpoint.kept
    if not manual:
        return endpoint
    if manual.ends:
        return returned(endpoint, next(iter(manual.weights)), manual.id, keep_warm, now)
    split = rearranged(endpoint.split, manual.weights, manual.id)
    return let_go(endpoint, replace(endpoint, split=split, kept=manual, asked=None), "", now)


def given_up(endpoint: Endpoint, now: datetime) -> Endpoint:
    """Return the endpoint as it was before a split was asked for."""
    return let_go(endpoint, replace(endpoint, asked=None), "", now)


def returned(endpoint: Endpoint, to: str, salt: str, keep_warm: timedelta, now: datetime) -> Endpoint:
    """Return the endpoint without a manual split: one deployment is promoted and has all traffic.

    Another one that was promoted before is kept warm for a while, to return to.
    """
    after = replace(endpoint, split=Split({to: WHOLE}, salt), kept=None, asked=None)
    if to != endpoint.promoted:
        after = replace(after, promoted=to, previous=endpoint.promoted, previous_until=now + keep_warm)
    return let_go(endpoint, after, "", now)


def champion_again(endpoint: Endpoint, now: datetime) -> Endpoint:
    """Return the endpoint with all traffic on what was promoted before its manual split, which is to end so."""
    manual = ManualSplit(f"rollback-{now:%Y%m%d%H%M%S%f}", {endpoint.promoted: WHOLE}, now, ends=True)
    after = replace(endpoint, split=Split(manual.weights, manual.id), kept=None, asked=manual)
    return let_go(endpoint, after, "", now)


def in_words(endpoint: Endpoint, manual: ManualSplit) -> str:
    """Return a manual split for people: `digits/v1 60 %, digits/v2 40 %`."""
    return ", ".join(f"{endpoint.deployments[id_].ref} {weight} %" for id_, weight in manual.weights.items())
