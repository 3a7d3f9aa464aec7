"""`watch`: a rollout as it happens, redrawn each second."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chalicelib.local.cli.output import Json, console, print_json, table
from chalicelib.local.cli.settings import AsJson

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chalicelib.local.cli.connection import Platform

_BAR = 40  # characters of a split's bar


def watch(
    context: typer.Context,
    endpoint: Annotated[str, typer.Argument(metavar="[ENDPOINT]", help="Default: all.")] = "",
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Watch split, requests, errors, latency, the verdict and what it still needs; end it with Ctrl-C."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        looks = _looks(platform, endpoint, interval=interval, once=once)
        if as_json:
            for seen in looks:
                for each in seen:
                    print_json(each)
        else:
            _live(looks)


def _looks(platform: "Platform", endpoint: str, *, interval: float, once: bool) -> Iterator[list[Json]]:
    while True:
        if endpoint:
            yield [platform.get(f"/v1/endpoints/{endpoint}")]
        else:
            yield list(platform.all("/v1/endpoints", "endpoints"))
        if once:
            return
        time.sleep(interval)


def _live(looks: Iterator[list[Json]]) -> None:
    from rich.live import Live  # noqa: PLC0415 - costs start-up time

    with Live(console=console(), auto_refresh=False) as live:
        for seen in looks:
            live.update(_picture(seen), refresh=True)


def _picture(endpoints: list[Json]) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415 - costs start-up time

    if not endpoints:
        return "No endpoint yet: the first version that is dropped makes one."
    return Group(*(part for e in endpoints for part in (_deployments(e), _verdict(e["rollout"]), "")))


def _deployments(e: Json) -> "RenderableType":
    columns = ("", "version", "split", "", "state", "requests", "errors", "4xx", "non-finite", "p50 ms", "p95 ms")
    return table(f"endpoint {e['name']}", columns, (_row(e, i, d) for i, d in e["deployments"].items()))


def _row(e: Json, deployment: str, d: Json) -> tuple[Any, ...]:
    weight = e["split"].get(deployment, 0)
    role = _role(e, deployment)
    seen = (e["rollout"] or {}).get("traffic", {}).get(role, {})
    counts = (seen.get(name) for name in ("requests", "errors", "rejected", "nonfinite"))
    state = f"{d['state']}, restarted {d['restarts']} times" if d["restarts"] else d["state"]
    return (
        role,
        f"{d['model_id']}/{d['version_id']}",
        f"{weight} %",
        "█" * round(_BAR * weight / 100),
        f"{state}: {d['reason']}" if d["reason"] else state,
        *counts,
        _ms(seen.get("p50_ms")),
        _ms(seen.get("p95_ms")),
    )


def _role(e: Json, deployment: str) -> str:
    if e["rollout"] and deployment == e["rollout"]["canary"]:
        return "canary"
    if deployment == e["promoted"]:
        return "stable"
    return "previous" if deployment == e["previous"] else ""


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _verdict(r: Json) -> str:
    if not r:
        return "  no rollout is open"
    step = f"step {r['step'] + 1} of {len(r['steps'])}" if r["step"] >= 0 else r["phase"]
    needed = r["judgement"]["samples_needed"]
    needs = f"; {needed} more canary requests needed" if needed else ""
    paused = " (paused)" if r["paused"] else ""
    verdict = f"  {step}{paused}: {r['judgement']['outcome']} - {r['judgement']['reason']}{needs}"
    return verdict.replace("[", r"\[")
