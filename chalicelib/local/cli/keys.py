"""`keys make|list|revoke`: who may call."""

from typing import Annotated

import typer

from chalicelib.local.cli.output import console, print_json, table
from chalicelib.local.cli.settings import AsJson

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@app.command("make")
def make(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who uses it.")],
    *,
    scope: Annotated[list[str], typer.Option(help="predict:NAME, predict:*, deploy or admin; repeat for more.")],
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        made = platform.post("/v1/keys", {"name": name, "scopes": scope})
    print_json(made) if as_json else print(made["key"])


@app.command("list")
def list_(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the keys, revoked ones too."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        keys = list(platform.all("/v1/keys", "keys"))
    if as_json:
        print_json(keys)
        return
    rows = [(k["id"], k["name"], " ".join(k["scopes"]), k["created"], k["revoked"]) for k in keys]
    console().print(table("Keys", ("id", "name", "scopes", "created", "revoked"), rows))


@app.command("revoke")
def revoke(
    context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: AsJson = False
) -> None:
    """Revoke a key, for good."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        revoked = platform.ask("DELETE", f"/v1/keys/{key_id}")
    print_json(revoked) if as_json else print(f"{revoked['id']} ({revoked['name']}) is revoked")
