"""A split of a person's own: asked for, in force once its deployments are ready, kept until changed or ended.

Only the record is written when it is asked for; each wake-up of the endpoint does what is next, so a crash in between
changes nothing.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from chalicelib.domain.aliases import by_version
from chalicelib.domain.deploy import may_deploy
from chalicelib.domain.deployment import Deployment, Endpoint, FleetState, Running, deployment_of
from chalicelib.domain.dividing import (
    Await,
    Divide,
    GiveUp,
    Restart,
    asked_for,
    decide_split,
    divided,
    given_up,
    in_words,
    restarted,
    rooms_of,
)
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.split import WHOLE, ManualSplit, Split
from chalicelib.domain.transition import Transition
from chalicelib.domain.version import Version
from chalicelib.pipeline import views
from chalicelib.pipeline.deploy_yaml import settled
from chalicelib.pipeline.first_rollouts import wake_held_back
from chalicelib.pipeline.ports import Capacity, Ports
from chalicelib.pipeline.records import Records, Stored
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_endpoint

_MOST = 10  # versions: each runs on replicas of its own


def ask_split(name: str, weights: Mapping[str, int], ports: Ports) -> dict[str, Any]:
    """Ask for a split between versions, `MODEL/VERSION` to percent; it is in force once all of them are ready."""
    stored = Records(ports.registry).known_endpoint(name)
    _check_asked(stored.value, weights, ports)
    deployments = {said: _deployment(stored.value, VersionRef.parse(said), ports) for said in weights}
    by_id = {deployments[said].id: weight for said, weight in weights.items()}
    by_hand = _newest_by_hand(stored.value, tuple(weights), ports)
    return _ask(stored.to(by_hand=by_hand), _stable_first(stored.value, by_id), tuple(deployments.values()), ports)


def end_split(name: str, to: VersionRef, ports: Ports) -> dict[str, Any]:
    """Ask for the end of a manual split: one version of it is promoted and has all traffic once it has the room."""
    stored = Records(ports.registry).known_endpoint(name)
    if not stored.value.is_manual:
        raise Rejected(f"{name} has no manual split that could be ended", code="conflict")
    deployment = by_version(stored.value, str(to))
    if not stored.value.split.weights.get(deployment):
        shares = ", ".join(_shares(stored.value, stored.value.split.weights))
        raise Rejected(
            f"{to} has no share of {name}'s traffic; end the split with one that has: {shares}", code="conflict"
        )
    return _ask(stored, {deployment: WHOLE}, (), ports, ends=True)


def divide(name: str, ports: Ports) -> None:
    """Do what is next about an endpoint's manual split, if it has one."""
    stored = Records(ports.registry).endpoint(name)
    if not stored or not stored.value.is_manual:
        return
    endpoint, now = stored.value, ports.clock()
    match decide_split(endpoint, _seen(endpoint, ports), now):
        case Divide(reason):
            after = divided(endpoint, ports.defaults.keep_warm, now)
            kind = "endpoint.split_set" if after.is_manual else "endpoint.split_ended"
            _commit(stored, after, kind, reason, ports)
            if not after.is_manual:
                wake_held_back(after, ports)
        case Restart(failed):
            for id_ in failed:
                ports.fleet.stop(id_)
            ports.registry.commit([replace(stored, value=restarted(endpoint)).write])
            wake_endpoint(name, ports)
        case GiveUp(reason):
            _commit(stored, given_up(endpoint, now), "endpoint.split_failed", reason, ports)
        case Await():
            _start(stored, ports)
            wake_endpoint(name, ports, after=ports.pace)


def _start(stored: Stored[Endpoint], ports: Ports) -> None:
    """Ask the fleet for what the asked split names; what it refuses for good (a bound, a quota) ends the wish."""
    endpoint = stored.value
    try:
        for id_, room in rooms_of(endpoint, _seen(endpoint, ports)).items():
            ports.fleet.ensure(endpoint.deployments[id_], Capacity(room, may_scale_in=False))
    except Rejected as refused:
        _commit(stored, given_up(endpoint, ports.clock()), "endpoint.split_failed", str(refused), ports)


def _check_asked(endpoint: Endpoint, weights: Mapping[str, int], ports: Ports) -> None:
    """Raise Rejected for a split that can't be, and while a rollout has the endpoint's traffic."""
    Split(weights)
    if not 1 < len(weights) <= _MOST or min(weights.values()) < 1:
        raise Rejected(
            f"give 2 to {_MOST} versions at least 1 % each; one version alone gets all traffic by a rollout, or by "
            "ending the split with it",
            code="bad_split",
        )
    records = Records(ports.registry)
    rollout = records.open_rollout(endpoint) or (records.get(Rollout, endpoint.queued) if endpoint.queued else None)
    if rollout:
        raise Rejected(
            f"the rollout of {rollout.value.ref} moves the traffic of {endpoint.name}: wait for its end, or promote or "
            "abort it first",
            code="conflict",
        )


def _deployment(endpoint: Endpoint, ref: VersionRef, ports: Ports) -> Deployment:
    """Return the deployment of a version: the one that runs for the endpoint already, else one to be started."""
    version = Records(ports.registry).version(ref)
    if not version:
        raise NotFound(f"{ref} is not registered; drop it first")
    may_deploy(endpoint.owner, ref, endpoint.name, ports.bounds)
    running = [d for d in endpoint.deployments.values() if (d.ref, d.digest) == (ref, version.value.digest)]
    if running:
        return endpoint.deployments[by_version(endpoint, str(ref))]
    if version.value.unservable:
        raise Rejected(
            f"{ref} did not start: {version.value.unservable}; start a rollout to have it tried again", code="conflict"
        )
    return deployment_of(endpoint.name, version.value, settled(ref, version.value.deploy_yaml, ports).resources)


def _newest_by_hand(endpoint: Endpoint, versions: Sequence[str], ports: Ports) -> dict[str, datetime]:
    """Return when the newest version of each model that a person gave a share was registered."""
    newest = dict(endpoint.by_hand)
    for version in filter(None, (Records(ports.registry).get(Version, said) for said in versions)):
        model_id, registered = version.value.ref.model_id, version.value.registered
        newest[model_id] = max(registered, newest.get(model_id, registered))
    return newest


def _stable_first(endpoint: Endpoint, weights: Mapping[str, int]) -> dict[str, int]:
    """Return the weights with what is promoted in front: it stands in for the others."""
    return dict(sorted(weights.items(), key=lambda share: share[0] != endpoint.promoted))


def _ask(
    stored: Stored[Endpoint],
    weights: Mapping[str, int],
    deployments: Sequence[Deployment],
    ports: Ports,
    *,
    ends: bool = False,
) -> dict[str, Any]:
    now = ports.clock()
    longest = max((2 * d.resources.start_timeout_s for d in deployments), default=0.0)
    until = now + max(ports.defaults.start_timeout, timedelta(seconds=longest))
    manual = ManualSplit(f"split-{uuid.uuid4().hex[:12]}", weights, until, ends, _failed(stored.value, weights, ports))
    after = asked_for(stored.value, manual, {d.id: d for d in deployments}, now)
    _commit(stored, after, "endpoint.split_asked", in_words(after, manual), ports)
    return views.describe_endpoint(after, ports)


def _failed(endpoint: Endpoint, weights: Mapping[str, int], ports: Ports) -> tuple[str, ...]:
    """Return what failed before and has no traffic: a person wants it to have another start."""
    dark = [id_ for id_ in weights if not endpoint.split.weights.get(id_)]
    return tuple(id_ for id_ in dark if ports.fleet.observe(id_).state is FleetState.FAILED)


def _seen(endpoint: Endpoint, ports: Ports) -> dict[str, Running]:
    asked = endpoint.asked.weights if endpoint.asked else {}
    return {id_: ports.fleet.observe(id_) for id_ in {*endpoint.split.weights, *asked}}


def _commit(stored: Stored[Endpoint], after: Endpoint, kind: str, message: str, ports: Ports) -> None:
    """Write what the endpoint becomes, and tell it, all or nothing."""
    told = _told(kind, stored, after, message, ports)
    ports.registry.commit([replace(stored, value=after).write], [told])
    wake_endpoint(stored.id, ports)


def _told(kind: str, stored: Stored[Endpoint], after: Endpoint, message: str, ports: Ports) -> Transition:
    """Return what is told: the split in force afterwards, and the one that is meant."""
    meant = after.asked or stored.value.asked or after.kept
    weights = meant.weights if meant else after.split.weights
    versions = {str(after.deployments[id_].ref): weight for id_, weight in weights.items() if id_ in after.deployments}
    split = dict(after.split.weights)
    return transition(
        kind, stored.id, message, at=ports.clock(), once=str(stored.revision), split=split, versions=versions
    )


def _shares(endpoint: Endpoint, weights: Mapping[str, int]) -> Iterator[str]:
    return (f"{endpoint.deployments[id_].ref} {weight} %" for id_, weight in weights.items() if weight)
