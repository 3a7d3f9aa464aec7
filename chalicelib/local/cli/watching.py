"""`watch`: a rollout as it happens, redrawn each second."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chalicelib.domain.aliases import CHAMPION, PREVIOUS
from chalicelib.domain.split import WHOLE
from chalicelib.local.cli.ahead import ahead, still_needed
from chalicelib.local.cli.output import Json, console, print_json, table
from chalicelib.local.cli.settings import AsJson

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chalicelib.local.cli.connection import Platform

_BAR = 10  # characters of a split's bar


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

    with Platform.of(context.obj) as platform, suppress(KeyboardInterrupt):
        looks = _looks(platform, endpoint, interval=interval, once=once)
        if as_json:
            for seen in looks:
                for each in seen:
                    print_json(each)
        else:
            _draw(looks, _Past(platform))


def _looks(platform: "Platform", endpoint: str, *, interval: float, once: bool) -> Iterator[list[Json]]:
    while True:
        if endpoint:
            yield [platform.get(f"/v1/endpoints/{endpoint}")]
        else:
            yield list(platform.all("/v1/endpoints", "endpoints"))
        if once:
            return
        time.sleep(interval)


@dataclass
class _Past:
    """Rollouts that have ended, each asked for once: they never change."""

    platform: "Platform"
    known: dict[str, Json] = field(default_factory=dict)

    def of(self, e: Json) -> Json:
        """Return the endpoint's last rollout when none is open, None where it had none."""
        last = e["last_rollout"]
        if e["rollout"] or not last:
            return None
        if last not in self.known:
            self.known[last] = self.platform.get(f"/v1/rollouts/{last}")
        return self.known[last]


def _draw(looks: Iterator[list[Json]], past: _Past) -> None:
    """Redraw in place on a terminal; elsewhere print look after look."""
    from rich.live import Live  # noqa: PLC0415 - costs start-up time

    out = console()
    if not out.is_terminal:
        for seen in looks:
            out.print(_picture(seen, past))
        return
    with Live(console=out, auto_refresh=False) as live:
        for seen in looks:
            live.update(_picture(seen, past), refresh=True)


def _picture(endpoints: list[Json], past: _Past) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415 - costs start-up time

    if not endpoints:
        return "No endpoint yet: the first version that is dropped makes one."
    return Group(*(part for e in endpoints for part in (_deployments(e), _below(e, past), "")))


def _below(e: Json, past: _Past) -> str:
    """Return the line below an endpoint: what becomes of a split by hand, else of its rollout."""
    return _by_hand(e) if e["manual_split"] else _verdict(e["rollout"], past.of(e))


def _by_hand(e: Json) -> str:
    manual = e["manual_split"]
    if not manual["asked"]:
        return "  a split by hand is kept; rollouts wait for its end"
    shares = ", ".join(f"{_ref(e['deployments'][id_])} {weight} %" for id_, weight in manual["asked"].items())
    return _escaped(f"  asked for by hand: {shares}; in force once all are ready, by {manual['until']} at the latest")


def _deployments(e: Json) -> "RenderableType":
    columns = ("", "version", "split", "state", "requests", "errors", "4xx", "NaN", "p50 ms", "p95 ms", "p99 ms")
    return table(f"endpoint {e['name']}", columns, (_row(e, i, d) for i, d in e["deployments"].items()))


def _row(e: Json, deployment: str, d: Json) -> tuple[Any, ...]:
    weight = e["split"].get(deployment, 0)
    role = _role(e, deployment)
    seen = (e["rollout"] or {}).get("traffic", {}).get(role, {})
    counts = (seen.get(name) for name in ("requests", "errors", "rejected", "nonfinite"))
    state = f"{d['state']}, restarted {d['restarts']} times" if d["restarts"] else d["state"]
    return (
        ", ".join(filter(None, (role, *_aliases(e, deployment)))),
        _ref(d),
        f"{'█' * round(_BAR * weight / WHOLE):{_BAR}} {weight} %",
        f"{state}: {d['reason']}" if d["reason"] else state,
        *counts,
        _ms(seen.get("p50_ms")),
        _ms(seen.get("p95_ms")),
        _ms(seen.get("p99_ms")),
    )


def _role(e: Json, deployment: str) -> str:
    if e["rollout"] and deployment == e["rollout"]["canary"]:
        return "canary"
    if deployment == e["promoted"]:
        return "stable"
    return "previous" if deployment == e["previous"] else ""


def _aliases(e: Json, deployment: str) -> list[str]:
    """Return people's own names for a deployment."""
    return [alias for alias, id_ in e["aliases"].items() if id_ == deployment and alias not in {CHAMPION, PREVIOUS}]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _verdict(r: Json, ended: Json) -> str:
    """Return what stands below an endpoint: its open rollout's step, verdict and needs, else how its last ended."""
    if not r:
        return _escaped(f"  {ended['phase']}: {_ref(ended)}, {ended['reason']}" if ended else "  no rollout yet")
    step = f"step {r['step'] + 1} of {len(r['steps'])}" if r["phase"] == "stepping" else r["phase"]
    waits = f", waits for approval before {r['gate']} %" if r["gate"] else ""
    paused = ", paused" if r["paused"] else ""
    verdict = f"  {step}{paused}{waits}: {r['judgement']['outcome']}, {r['judgement']['reason']}{still_needed(r)}"
    holds = f"holds: {r['holds']}" if r["holds"] and r["phase"] not in {"stepping", "baking"} else ""
    return _escaped("\n  ".join(filter(None, (verdict, holds, ahead(r)))))


def _ref(r: Json) -> str:
    return f"{r['model_id']}/{r['version_id']}"


def _escaped(text: str) -> str:
    """Return a text whose brackets are no markup."""
    return text.replace("[", r"\[")
