"""`keys make|list|revoke`: who may call."""

from typing import Annotated, Any

import typer

from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import console, print_json, table
from chalicelib.local.cli.settings import AsJson

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@app.command("make")
def make(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who uses it.")],
    *,
    scope: Annotated[list[str], typer.Option(help="predict:NAME, dark:NAME, upload:MODEL, deploy, admin; repeat.")],
    aws: Annotated[
        str, typer.Option(metavar="PREFIX", help="On AWS, with your AWS credentials: a stack's Prefix.")
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="With --aws: keep it in Secrets Manager; print its name.")
    ] = False,
    region: Annotated[str, typer.Option(help="With --aws: the stack's region.")] = "",
    profile: Annotated[str, typer.Option(help="With --aws: an AWS profile.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    if keep and not aws:
        raise Ended(Status.USAGE, "--keep needs --aws PREFIX: a machine has no Secrets Manager")
    if aws:
        made = _made_on_aws(aws, name, scope, region=region, profile=profile, keep=keep)
    else:
        made = _made(context, name, scope)
    print_json(made) if as_json else print(made.get("secret") or made["key"])


def _made(context: typer.Context, name: str, scopes: list[str]) -> dict[str, Any]:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        made: dict[str, Any] = platform.post("/v1/keys", {"name": name, "scopes": scopes})
    return made


def _made_on_aws(prefix: str, name: str, scopes: list[str], *, region: str, profile: str, keep: bool) -> dict[str, Any]:
    """Return the key; one that is kept, without itself."""
    from chalicelib.local.cli.on_aws import StackOnAws, check_name  # noqa: PLC0415 - boto3

    if keep:
        check_name(name)
    stack = StackOnAws.reach(prefix, region, profile)
    made = stack.make_key(name, scopes)
    if not keep:
        return made
    secret = stack.keep(made)
    return {"secret": secret, **{field: value for field, value in made.items() if field != "key"}}


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
