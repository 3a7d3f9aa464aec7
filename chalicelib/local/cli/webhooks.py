"""`webhooks add|list|status|rotate|redeliver|remove`: where the platform tells its events."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import console, print_json, table
from chalicelib.local.cli.settings import AsJson

app = typer.Typer(help="Tell events to a URL by signed calls.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID")]
SecretFile = Annotated[Path | None, typer.Option(help="File with the secret, whsec_…; else one is made.")]


@app.command("add")
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="https://HOST/…")],
    *,
    kinds: Annotated[list[str], typer.Option(help="Events, such as 'rollout.*' or '*'; repeat for more.")],
    secret_file: SecretFile = None,
    private: Annotated[bool, typer.Option("--private", help="It is in your own network; http is taken too.")] = False,
    patience: Annotated[float, typer.Option(min=1, help="Seconds that an event is tried before it is parked.")] = 86400,
    as_json: AsJson = False,
) -> None:
    """Add a webhook. Its secret is shown this once."""
    asked = {"url": url, "kinds": kinds, "private": private, "patience_s": patience, "secret": _secret(secret_file)}
    _show_secret(_ask(context, "POST", "/v1/webhooks", asked), as_json=as_json)


@app.command("list")
def list_(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the webhooks: where to, what waits, what was parked."""
    found = _all(context, "/v1/webhooks", "webhooks")
    if as_json:
        print_json(found)
        return
    columns = ("id", "url", "kinds", "waiting", "delivered", "parked", "trouble")
    console().print(table("Webhooks", columns, [_cells(w, columns) for w in found]))


@app.command("status")
def status(context: typer.Context, webhook: Id, *, as_json: AsJson = False) -> None:
    """Show a webhook's deliveries: those that wait, and those that ended lately."""
    found = _all(context, f"/v1/webhooks/{webhook}/deliveries", "deliveries")
    if as_json:
        print_json(found)
        return
    for each in found:
        last = f": {each['last']} ({each['attempts']} attempts)" if each["attempts"] else ""
        print(f"{each['event']}  {each['state']:<9}  {each['kind']} of {each['subject']}{last}")


@app.command("rotate")
def rotate(
    context: typer.Context,
    webhook: Id,
    *,
    keep: Annotated[float, typer.Option(min=0, help="Seconds that the present secret signs too.")] = 86400,
    secret_file: SecretFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a webhook another secret, which is shown this once."""
    asked = {"keep_s": keep, "secret": _secret(secret_file)}
    _show_secret(_ask(context, "POST", f"/v1/webhooks/{webhook}/rotate", asked), as_json=as_json)


@app.command("redeliver")
def redeliver(
    context: typer.Context,
    webhook: Id,
    events: Annotated[list[str] | None, typer.Argument(metavar="[EVENT]...")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Send events again: those named by their ids, else all that were parked."""
    again = _ask(context, "POST", f"/v1/webhooks/{webhook}/redeliver", {"events": events or []})["deliveries"]
    print_json(again) if as_json else print(
        f"{len(again)} events are sent again; `modeldrop webhooks status {webhook}`"
    )


@app.command("remove")
def remove(context: typer.Context, webhook: Id, *, as_json: AsJson = False) -> None:
    """Remove a webhook; what it was to be told is forgotten."""
    gone = _ask(context, "DELETE", f"/v1/webhooks/{webhook}")
    print_json(gone) if as_json else print(f"{gone['id']} ({gone['url']}) is removed")


def _ask(context: typer.Context, method: str, path: str, body: Any = None) -> Any:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        return platform.ask(method, path, json=body)


def _all(context: typer.Context, path: str, of: str) -> list[Any]:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        return list(platform.all(path, of))


def _secret(path: Path | None) -> str:
    """Return what a file holds, "" without one."""
    try:
        return path.read_text(encoding="utf-8").strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Ended(Status.USAGE, f"--secret-file {path} can't be read: {error}") from error


def _show_secret(made: Any, *, as_json: bool) -> None:
    print_json(made) if as_json else print(f"{made['id']} {made['secret']}")


def _cells(row: Any, columns: tuple[str, ...]) -> list[Any]:
    return [" ".join(row[c]) if isinstance(row[c], list) else row[c] for c in columns]
