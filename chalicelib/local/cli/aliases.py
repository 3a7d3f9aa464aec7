"""`alias set|remove|list`: names of one's own for the versions that run for an endpoint."""

from typing import Annotated

import typer

from chalicelib.domain.refs import VersionRef
from chalicelib.local.cli.output import Json, console, print_json, table
from chalicelib.local.cli.settings import AsJson

app = typer.Typer(help="Name the versions that run for an endpoint.", no_args_is_help=True)
Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT")]
Alias = Annotated[str, typer.Argument(metavar="ALIAS")]


@app.command("set")
def set_(
    context: typer.Context,
    endpoint: Endpoint,
    alias: Alias,
    version: Annotated[str, typer.Argument(metavar="MODEL/VERSION")],
    *,
    as_json: AsJson = False,
) -> None:
    """Let an alias name a version that runs; callers of the alias follow at once."""
    ref = VersionRef.parse(version)
    body = {"model_id": ref.model_id, "version_id": ref.version_id}
    _ask(context, "PUT", endpoint, alias, f"{alias} of {endpoint} is {ref}", body, as_json=as_json)


@app.command("remove")
def remove(context: typer.Context, endpoint: Endpoint, alias: Alias, *, as_json: AsJson = False) -> None:
    """Remove an alias; what it named retires unless something else needs it."""
    _ask(context, "DELETE", endpoint, alias, f"{alias} of {endpoint} is removed", as_json=as_json)


@app.command("list")
def list_(context: typer.Context, endpoint: Endpoint, *, as_json: AsJson = False) -> None:
    """List an endpoint's aliases; `champion` and `previous` are the platform's own."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        shown = platform.get(f"/v1/endpoints/{endpoint}")
    rows = [(alias, _ref(shown["deployments"][id_]), id_) for alias, id_ in shown["aliases"].items()]
    if as_json:
        print_json({alias: version for alias, version, _ in rows})
    else:
        console().print(table(f"Aliases of {endpoint}", ("alias", "version", "deployment"), rows))


def _ref(deployment: Json) -> str:
    return f"{deployment['model_id']}/{deployment['version_id']}"


def _ask(  # noqa: PLR0917 - what to ask, and what to say of it
    context: typer.Context, method: str, endpoint: str, alias: str, done: str, body: Json = None, *, as_json: bool
) -> None:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        answer = platform.ask(method, f"/v1/endpoints/{endpoint}/aliases/{alias}", json=body)
    print_json(answer) if as_json else print(done)
