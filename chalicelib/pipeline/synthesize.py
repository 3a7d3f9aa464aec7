"""Ask both sides synthetic requests, past the split: those that come with the version, else some that fit its schema.

As with an exam, what was counted is recorded a slice at each wake-up, on the condition that nobody else wrote.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chalicelib.domain import custom_attributes
from chalicelib.domain.errors import Rejected
from chalicelib.domain.golden import FILE, WARMUP, parse_golden
from chalicelib.domain.invocation import Busy, Call, NoAnswer, TimedOut
from chalicelib.domain.predict_body import JSON
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.structure import marks_of
from chalicelib.domain.synthetic import Synthetic, answered, from_schema, how_many, one
from chalicelib.domain.traffic import Traffic
from chalicelib.domain.version import Version
from chalicelib.pipeline.examine import call_of
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records, Stored
from chalicelib.pipeline.transitions import of_rollout
from chalicelib.pipeline.wakeups import wake_endpoint

PATIENCE = 10.0  # seconds for one answer
SCHEMA = "schema"
_NO_ANSWER, _TOO_LATE = 502, 504


def synthetic_of(version: Version) -> Synthetic | None:
    """Return what a rollout's synthetic requests come from; None when there is nothing to make them from."""
    paths = {file.path for file in version.files}
    origin = next((name for name in (FILE, WARMUP) if name in paths), "")
    if not origin and version.schema and from_schema(version.schema):
        origin = SCHEMA
    return Synthetic(origin) if origin else None


def synthesize(rollout: Stored[Rollout], ports: Ports) -> None:
    """Ask the next requests for as long as a wake-up may, and record what came of them; raises Conflict."""
    synthetic = rollout.value.synthetic
    if not synthetic:
        return
    calls = _calls(synthetic.origin, rollout.value, ports)
    after = _asked(synthetic, calls, rollout.value, ports) if calls else _without(synthetic)
    if after == synthetic:
        return
    asked = rollout.to(synthetic=after)
    ports.registry.commit([asked.write], _told(asked.value, after, ports) if after.is_done else [])
    wake_endpoint(rollout.value.endpoint, ports)


def _without(synthetic: Synthetic) -> Synthetic:
    return replace(synthetic, is_done=True, reason=f"{synthetic.origin} has no request to make them from")


def _asked(synthetic: Synthetic, calls: Sequence[Call], rollout: Rollout, ports: Ports) -> Synthetic:
    """Return it with a slice of requests more, each asked of both sides; one that a cloud had no time for ends it."""
    until = ports.clock() + ports.slice
    needed = how_many(rollout.plan.thresholds.min_requests)
    for at in range(synthetic.asked, needed):
        call = calls[at % len(calls)]
        try:
            ours, theirs = (_one(deployment, call, ports) for deployment in (rollout.canary.id, rollout.stable))
        except Busy:
            return synthetic
        synthetic = answered(synthetic, ours, theirs, of=needed)
        if ports.clock() >= until:
            break
    return synthetic


def _one(deployment_id: str, call: Call, ports: Ports) -> Traffic:
    """Return the traffic that one request is; raises Busy."""
    started = ports.clock()
    try:
        reply = ports.invoker.invoke(deployment_id, call, PATIENCE)
    except NoAnswer as problem:
        status = _TOO_LATE if isinstance(problem, TimedOut) else _NO_ANSWER
        return one(status, 0.0, nonfinite=False, marks={})
    milliseconds = (ports.clock() - started).total_seconds() * 1000
    nonfinite = reply.attributes.get(custom_attributes.NONFINITE, "0") != "0"
    marks = dict.fromkeys(marks_of(reply.status, reply.content_type, reply.body), 1)
    return one(reply.status, milliseconds, nonfinite=nonfinite, marks=marks)


def _calls(origin: str, rollout: Rollout, ports: Ports) -> list[Call]:
    """Return the requests of a version's own file, or some that fit its schema; none where neither can be read."""
    if origin == SCHEMA:
        version = Records(ports.registry).version(rollout.ref)
        return [_call(body) for body in from_schema(version.value.schema or {})] if version else []
    try:
        golden = parse_golden(ports.store.get(rollout.canary.store_prefix + origin) or b"")
    except Rejected:
        return []
    return [call_of(line) for line in golden.lines]


def _call(body: Any) -> Call:
    meant = {custom_attributes.CONTRACT: custom_attributes.INSTANCES, custom_attributes.TRACE: "synthetic"}
    return Call(json.dumps(body).encode(), JSON, JSON, meant)


def _told(rollout: Rollout, synthetic: Synthetic, ports: Ports) -> list[Any]:
    message = synthetic.reason or f"{synthetic.asked} synthetic requests to each side, from {synthetic.origin}"
    counts = {
        "requests": synthetic.asked,
        "origin": synthetic.origin,
        "canary_errors": synthetic.canary.errors,
        "stable_errors": synthetic.stable.errors,
    }
    return [of_rollout("rollout.synthesized", rollout, message, at=ports.clock(), **counts)]
