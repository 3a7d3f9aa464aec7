"""`split`: divide an endpoint's traffic between versions by hand, and end that."""

from typing import TYPE_CHECKING, Annotated

import typer

from chalicelib.domain.refs import VersionRef
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import Json, print_json
from chalicelib.local.cli.settings import AsJson

if TYPE_CHECKING:
    from chalicelib.local.cli.connection import Platform


def split(
    context: typer.Context,
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT")],
    shares: Annotated[list[str] | None, typer.Argument(metavar="[VERSION=PERCENT]...", help="Sum 100.")] = None,
    *,
    end: Annotated[str, typer.Option(metavar="VERSION", help="Promote this version, with all traffic.")] = "",
    as_json: AsJson = False,
) -> None:
    """Divide the traffic between versions, kept until changed or ended; without more, show how it is divided."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    if end and shares:
        raise Ended(Status.USAGE, "give either VERSION=PERCENT or --end VERSION, not both")
    with Platform.of(context.obj) as platform:
        answer, said = _asked(platform, endpoint, shares or [], end)
    print_json(answer) if as_json else print(said or _in_words(answer))


def _asked(platform: "Platform", endpoint: str, shares: list[str], end: str) -> tuple[Json, str]:
    """Return the endpoint, and what was asked of it."""
    path = f"/v1/endpoints/{endpoint}"
    shown = platform.get(path)
    watch = f"`modeldrop watch {endpoint}` shows when it is in force"
    if end:
        answer = platform.ask("DELETE", f"{path}/split", params={"to": _ref(end, shown)})
        return answer, f"{endpoint}: {_ref(end, shown)} gets all traffic; {watch}"
    if shares:
        weights = dict(_share(each, shown) for each in shares)
        return platform.ask("PUT", f"{path}/split", json={"weights": weights}), f"{endpoint}: accepted; {watch}"
    return shown, ""


def _share(said: str, shown: Json) -> tuple[str, int]:
    version, _, percent = said.rpartition("=")
    if not (version and percent.isascii() and percent.isdecimal()):
        raise Ended(Status.USAGE, f"{said!r} is not VERSION=PERCENT, such as v2=40")
    return _ref(version, shown), int(percent)


def _ref(said: str, shown: Json) -> str:
    """Return MODEL/VERSION; a version alone is one of the model that the endpoint belongs to."""
    return str(VersionRef.parse(said if "/" in said else f"{shown['owner']}/{said}"))


def _in_words(shown: Json) -> str:
    refs = {id_: f"{d['model_id']}/{d['version_id']}" for id_, d in shown["deployments"].items()}
    lines = [f"{refs[id_]} {weight} %" for id_, weight in shown["split"].items() if weight]
    asked = (shown["manual_split"] or {}).get("asked") or {}
    waits = [f"asked for: {', '.join(f'{refs[id_]} {weight} %' for id_, weight in asked.items())}"] if asked else []
    return "\n".join([*lines, *waits]) or "nothing has traffic yet"
