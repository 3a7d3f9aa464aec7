"""Records as the JSON that people and programs read; the live part is observed at the moment of asking."""

import math
from collections.abc import Sequence
from typing import Any

from chalicelib.domain.aliases import aliases_of
from chalicelib.domain.decide import decide
from chalicelib.domain.decide_traffic import verdict_on
from chalicelib.domain.deployment import Deployment, Endpoint
from chalicelib.domain.errors import NotFound
from chalicelib.domain.refs import VersionRef, has_legal_ids
from chalicelib.domain.report_text import as_json
from chalicelib.domain.rollout import Hold, Rollout
from chalicelib.domain.traffic import Traffic
from chalicelib.domain.version import Version
from chalicelib.pipeline.advance import observe
from chalicelib.pipeline.forecast import Forecast, forecast
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Drop, Records, to_json
from chalicelib.pipeline.shadow import disagreements as kept_disagreements

View = dict[str, Any]


def models(ports: Ports) -> list[View]:
    """Return every model that was dropped, with its versions' ids and states."""
    by_model: dict[str, list[View]] = {}
    for drop in _legal_drops(ports):
        ref = VersionRef.parse(drop.prefix)
        by_model.setdefault(ref.model_id, []).append({"version_id": ref.version_id, "status": drop.status})
    return [{"model_id": m, "versions": v} for m, v in sorted(by_model.items())]


def model(model_id: str, ports: Ports) -> View:
    return _only(models(ports), "model_id", model_id)


def versions(model_id: str, ports: Ports) -> list[View]:
    """Return a model's versions, whole or on their way."""
    return [_version_of(d, ports) for d in _legal_drops(ports) if d.prefix.startswith(f"{model_id}/")]


def version(ref: VersionRef, ports: Ports) -> View:
    """Return one version with its validation report and, until it is whole, what is missing."""
    drop = Records(ports.registry).get(Drop, ref.prefix)
    if not drop:
        raise NotFound(f"nothing was dropped at {ref.prefix}")
    return _version_of(drop.value, ports)


def drops(ports: Ports) -> list[View]:
    """Return every upload that isn't a version: still uploading, or rejected."""
    stored = Records(ports.registry).list(Drop)
    return [_drop(d.value) for d in stored if d.value.status != "registered"]


def endpoints(ports: Ports) -> list[View]:
    return [describe_endpoint(e.value, ports) for e in Records(ports.registry).list(Endpoint)]


def endpoint(name: str, ports: Ports) -> View:
    return describe_endpoint(Records(ports.registry).known_endpoint(name).value, ports)


def describe_endpoint(value: Endpoint, ports: Ports) -> View:
    """Return an endpoint as it is: the split in force, what runs, and its open rollout with the live judgement."""
    rollout = Records(ports.registry).open_rollout(value)
    return {
        "name": value.name,
        "owner": value.owner,
        "split": dict(value.split.weights),
        "deployments": {i: _deployment(d, ports) for i, d in value.deployments.items()},
        "promoted": value.promoted,
        "previous": value.previous,
        "previous_until": value.previous_until.isoformat() if value.previous_until else None,
        "rollout": _live(value, rollout.value, ports) if rollout else None,
        "last_rollout": value.rollout,
        "rate": value.rate or None,
        "aliases": dict(aliases_of(value)),
        "manual_split": _manual(value),
    }


def _manual(value: Endpoint) -> View | None:
    """Return a person's own split: the one that is kept, and the one that waits for its deployments."""
    if not value.is_manual:
        return None
    return {
        "kept": dict(value.kept.weights) if value.kept else None,
        "asked": dict(value.asked.weights) if value.asked else None,
        "until": value.asked.until.isoformat() if value.asked else None,
    }


def rollouts(ports: Ports, endpoint_name: str = "") -> list[View]:
    """Return rollouts, the newest last."""
    found = [r.value for r in Records(ports.registry).list(Rollout)]
    chosen = [r for r in found if endpoint_name in {"", r.endpoint}]
    return [_summary(r) for r in sorted(chosen, key=lambda r: r.opened)]


def rollout(rollout_id: str, ports: Ports) -> View:
    stored = Records(ports.registry).get(Rollout, rollout_id)
    if not stored:
        raise NotFound(f"there is no rollout {rollout_id!r}")
    return describe_rollout(stored.value, ports)


def describe_rollout(value: Rollout, ports: Ports) -> View:
    """Return a rollout with its plan and its timeline."""
    timeline = [to_json(t) for t in ports.registry.timeline(rollout=value.id)]
    body = to_json(value)
    return {**_summary(value), **_ahead(value, ports), "plan": body["plan"], "exam": body["exam"], "timeline": timeline}


def _ahead(value: Rollout, ports: Ports) -> View:
    """Return what an open rollout still needs, and at what rate that comes."""
    of = Records(ports.registry).endpoint(value.endpoint) if value.is_open else None
    return (forecast(of.value, value, ports) if of else Forecast(None, ())).view


def disagreements(rollout_id: str, ports: Ports) -> View:
    """Return what a rollout's shadow answered otherwise, as far as it was kept."""
    rollout(rollout_id, ports)
    return {"disagreements": kept_disagreements(rollout_id, ports.store)}


def _legal_drops(ports: Ports) -> Sequence[Drop]:
    every = [d.value for d in Records(ports.registry).list(Drop)]
    return [d for d in every if has_legal_ids(d.prefix)]


def _drop(drop: Drop) -> View:
    return {**as_json(drop.report), "status": drop.status, "seen": drop.seen.isoformat()}


def _version_of(drop: Drop, ports: Ports) -> View:
    stored = Records(ports.registry).get(Version, drop.prefix.removesuffix("/"))
    if not stored:
        return _drop(drop)
    found = stored.value
    size = sum(f.size for f in found.files)
    state = "unservable" if found.unservable else "registered"
    sealed = {"registered": found.registered.isoformat(), "bytes": size, "files": [to_json(f) for f in found.files]}
    return {**_drop(drop), **sealed, "status": state, "digest": found.digest, "unservable": found.unservable}


def _deployment(deployment: Deployment, ports: Ports) -> View:
    running = ports.fleet.observe(deployment.id)
    return {**to_json(deployment.ref), "wanted_digest": deployment.digest, **to_json(running)}


def _summary(value: Rollout) -> View:
    body = to_json(value)
    kept = ("id", "endpoint", "phase", "step", "paused", "reason", "opened", "ended", "stable", "gate")
    way = {"strategy": value.plan.strategy, "steps": list(value.plan.steps)}
    ids = {"model_id": value.ref.model_id, "version_id": value.ref.version_id, "canary": value.canary.id}
    return {**{k: body[k] for k in kept}, **ids, **way, "weight": value.weight}


def _live(endpoint_value: Endpoint, value: Rollout, ports: Ports) -> View:
    seen = observe(endpoint_value, value, ports)
    traffic = {"canary": _traffic(seen.canary_traffic), "stable": _traffic(seen.stable_traffic)}
    action = decide(value, seen, ports.clock())
    holds = action.reason if isinstance(action, Hold) else ""
    judged = {"holds": holds, "judgement": to_json(verdict_on(value, seen)), "traffic": traffic}
    return {**_summary(value), **judged, **forecast(endpoint_value, value, ports).view}


def _traffic(seen: Traffic) -> View:
    counts = {"requests": seen.requests, "errors": seen.errors, "rejected": seen.rejected, "nonfinite": seen.nonfinite}
    return counts | {f"p{q}_ms": _finite(seen.quantile_ms(q / 100)) for q in (50, 95, 99)}


def _finite(milliseconds: float | None) -> float | None:
    """JSON knows no infinity: past the last bucket there is no number to show."""
    return milliseconds if milliseconds is not None and math.isfinite(milliseconds) else None


def _only(found: list[View], field: str, value: str) -> View:
    for each in found:
        if each[field] == value:
            return each
    raise NotFound(f"there is no {field} {value!r}")
