"""`status`: everything that there is, at one glance."""

from collections.abc import Iterable
from typing import Any

import typer

from chalicelib.local.cli.output import Json, console, print_json, table
from chalicelib.local.cli.settings import AsJson

_DIGEST = 19  # characters: "sha256:" and twelve of the digits


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show models and versions, endpoints, open rollouts, and uploads that are no versions yet."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        models = [m["model_id"] for m in platform.all("/v1/models", "models")]
        seen = {
            "versions": [v for m in models for v in platform.all(f"/v1/models/{m}/versions", "versions")],
            "endpoints": list(platform.all("/v1/endpoints", "endpoints")),
            "drops": list(platform.all("/v1/drops", "drops")),
        }
    if as_json:
        print_json(seen)
    else:
        _show(seen)


def _show(seen: Json) -> None:
    out = console()
    registered = [v for v in seen["versions"] if v["status"] in {"registered", "unservable"}]
    if not any(seen.values()):
        out.print("Nothing yet: drop a model with `modeldrop push PATH MODEL/VERSION`.")
    for title, columns, rows in (
        ("Versions", ("model", "version", "format", "status", "digest"), map(_version, registered)),
        ("Endpoints", ("endpoint", "split", "serving", "replicas"), map(_endpoint, seen["endpoints"])),
        ("Rollouts", ("endpoint", "to", "phase", "canary", "verdict", "why"), _rollouts(seen["endpoints"])),
        ("Uploads", ("upload", "status", "missing or wrong"), map(_drop, seen["drops"])),
    ):
        if found := list(rows):
            out.print(table(title, columns, found), end="\n\n")


def _version(v: Json) -> tuple[Any, ...]:
    return v["model_id"], v["version_id"], v["format"], v["status"], v.get("digest", "")[:_DIGEST]


def _endpoint(e: Json) -> tuple[Any, ...]:
    split = ", ".join(f"{e['deployments'][d]['version_id']} {w} %" for d, w in e["split"].items() if w)
    promoted = e["deployments"].get(e["promoted"])
    serving = f"{promoted['model_id']}/{promoted['version_id']}" if promoted else ""
    replicas = ", ".join(f"{d['version_id']}: {d['ready']} {d['state']}" for d in e["deployments"].values())
    return e["name"], split, serving, replicas


def _rollouts(endpoints: Iterable[Json]) -> Iterable[tuple[Any, ...]]:
    for r in (e["rollout"] for e in endpoints if e["rollout"]):
        phase = f"{r['phase']}, paused" if r["paused"] else r["phase"]
        to = f"{r['model_id']}/{r['version_id']}"
        yield r["endpoint"], to, phase, f"{r['weight']} %", r["judgement"]["outcome"], r["reason"]


def _drop(d: Json) -> tuple[Any, ...]:
    return d["key_prefix"], d["status"], "\n".join([*d["missing"], *(f["message"] for f in d["findings"])])
