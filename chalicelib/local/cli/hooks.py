"""`hooks make|list|rotate|drop-secret|revoke|log`: which CI systems may ask for what, by signed calls."""

import json
from collections import deque
from pathlib import Path
from typing import Annotated, Any

import typer

from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import console, print_json, table
from chalicelib.local.cli.settings import AsJson, Settings

app = typer.Typer(
    help="Make, list and revoke hooks: what CI systems may ask for by signed calls.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="The hook's name.")]
SecretFile = Annotated[Path | None, typer.Option(exists=True, help="A secret that the sender made.")]


@app.command("make")
def make(
    context: typer.Context,
    name: Name,
    *,
    allow: Annotated[list[str], typer.Option(help="start_rollout, approve, promote, abort or set_alias; repeat.")],
    endpoint: Annotated[list[str], typer.Option(help="An endpoint that it is for, or '*'; repeat for more.")],
    form: Annotated[str, typer.Option(help="standard, gitlab, github or gitlab_token.")] = "standard",
    on: Annotated[list[str] | None, typer.Option(metavar="EVENT=ACTION", help="What an event asks for.")] = None,
    model: Annotated[str, typer.Option(help="With --on: the MODEL_ID.")] = "",
    version_from: Annotated[str, typer.Option(help="With --on: what names the VERSION_ID: tag or commit.")] = "",
    branch: Annotated[str, typer.Option(help="With --on: of this branch only.")] = "",
    alias: Annotated[str, typer.Option(help="With --on EVENT=set_alias: which.")] = "",
    secret_file: SecretFile = None,
    replayable: Annotated[bool, typer.Option("--replayable", help="Accept that gitlab_token can be replayed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a hook. Its secret is shown this once."""
    about = {"endpoint": endpoint[0], "model_id": model, "branch": branch, "alias": alias}
    about |= {"version_from": version_from} if version_from else {}
    rules = [{**_rule(each), **about} for each in on or []]
    body = {"name": name, "form": form, "actions": allow, "endpoints": endpoint, "rules": rules}
    secret = {"secret": _read(secret_file)} if secret_file else {}
    accepted = {"replayable": True} if replayable else {}
    _show_made(_ask(context, "POST", "/v1/hooks", {**body, **secret, **accepted}), as_json=as_json)


def _rule(text: str) -> dict[str, str]:
    event, equals, action = text.partition("=")
    if not equals:
        raise Ended(Status.USAGE, f"--on {text}: say EVENT=ACTION, such as release=start_rollout")
    return {"event": event, "action": action}


@app.command("list")
def list_(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the hooks, revoked ones too."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        hooks = list(platform.all("/v1/hooks", "hooks"))
    if as_json:
        print_json(hooks)
        return
    columns = ("name", "form", "actions", "endpoints", "on", "secrets", "revoked")
    console().print(table("Hooks", columns, [_row(hook) for hook in hooks]))


def _row(hook: dict[str, Any]) -> tuple[Any, ...]:
    rules = " ".join(f"{rule['event']}={rule['action']}" for rule in hook["rules"])
    secrets = " ".join(secret["id"] for secret in hook["secrets"])
    names = (" ".join(hook["actions"]), " ".join(hook["endpoints"]))
    return (hook["name"], hook["form"], *names, rules, secrets, hook["revoked"])


@app.command("rotate")
def rotate(context: typer.Context, name: Name, *, secret_file: SecretFile = None, as_json: AsJson = False) -> None:
    """Make a second secret, valid beside the first until that is dropped."""
    given = _read(secret_file)
    _show_made(_ask(context, "POST", f"/v1/hooks/{name}/secrets", {"secret": given} if given else {}), as_json=as_json)


@app.command("drop-secret")
def drop_secret(
    context: typer.Context,
    name: Name,
    secret_id: Annotated[str, typer.Argument(metavar="ID", help="As `hooks list` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Let one of two secrets be worth nothing from now on."""
    hook = _ask(context, "DELETE", f"/v1/hooks/{name}/secrets/{secret_id}")
    print_json(hook) if as_json else print(f"secret {secret_id} of hook {name} is dropped")


@app.command("revoke")
def revoke(context: typer.Context, name: Name, *, as_json: AsJson = False) -> None:
    """Revoke a hook; its secrets are forgotten."""
    hook = _ask(context, "DELETE", f"/v1/hooks/{name}")
    print_json(hook) if as_json else print(f"hook {name} is revoked")


@app.command("log")
def log(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Of this hook only.")] = "",
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="The newest lines.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show which calls came to this machine's hooks, and what came of them."""
    settings: Settings = context.obj
    files = [settings.home.audit.with_name(f"{settings.home.audit.name}.1"), settings.home.audit]
    texts = [text for file in files if file.exists() for text in file.read_text(encoding="utf-8").splitlines()]
    calls = (json.loads(text) for text in texts)
    for call in deque((call for call in calls if name in {"", call["hook"]}), maxlen=lines):
        print_json(call) if as_json else print(_in_words(call))


def _in_words(call: dict[str, Any]) -> str:
    asked = f" {call['action']} of {call['endpoint']}" if "action" in call else ""
    why = f" ({call['why']})" if "why" in call else ""
    return f"{call['at']}  {call['hook']}: {call['outcome']}{asked}{why}"


def _read(file: Path | None) -> str:
    return file.read_text(encoding="utf-8").strip() if file else ""


def _ask(context: typer.Context, method: str, path: str, body: Any = None) -> dict[str, Any]:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        answer: dict[str, Any] = platform.ask(method, path, json=body)
    return answer


def _show_made(made: dict[str, Any], *, as_json: bool) -> None:
    print_json(made) if as_json else print(made["secret"])
