"""The program itself: global options, the commands that there are, and how their errors are said."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from chalicelib.domain.errors import NotYet, Rejected
from chalicelib.local.cli import (
    aliases,
    dividing,
    hooks,
    keys,
    logs,
    looking,
    platform,
    predicting,
    pushing,
    steering,
    validating,
    watching,
    webhooks,
)
from chalicelib.local.cli.annotating import annotate
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.settings import Settings
from chalicelib.local.home import Home


class Program(TyperGroup):
    """The group of all commands; an error that we expect is one line and a status, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Ended as ended:
            _end(ended.status, ended)
        except Rejected as rejected:
            _end(Status.NO, rejected)
        except NotYet as not_yet:
            _end(Status.NOT_YET, not_yet)


def _end(status: Status, why: Exception) -> None:
    print(f"modeldrop: {why}", file=sys.stderr)
    annotate("modeldrop", str(why), failed=True)
    raise typer.Exit(status)


app = typer.Typer(
    cls=Program,
    help="Drop a model into a bucket; minutes later it is serving behind HTTPS, and it got there safely.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    context: typer.Context,
    *,
    home: Annotated[Path | None, typer.Option(envvar="MODELDROP_HOME", help="The platform's folder.")] = None,
    url: Annotated[str, typer.Option(envvar="MODELDROP_URL", help="A platform elsewhere.")] = "",
    key: Annotated[str, typer.Option(envvar="MODELDROP_KEY", help="An API key for --url.")] = "",
    ca: Annotated[Path | None, typer.Option(envvar="MODELDROP_CA", help="PEM file of the CA that --url has.")] = None,
) -> None:
    context.obj = Settings(Home(home) if home else Home.default(), url, key, ca)


app.command("up")(platform.up)
app.command("demo", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(platform.demo)
app.command("validate")(validating.validate)
app.command("push")(pushing.push)
app.command("status")(looking.status)
app.command("watch")(watching.watch)
app.command("predict")(predicting.predict)
app.command("promote")(steering.promote)
app.command("approve")(steering.approve)
app.command("abort")(steering.abort)
app.command("rollback")(steering.rollback)
app.command("pause")(steering.pause)
app.command("resume")(steering.resume)
app.command("start")(steering.start)
app.command("split")(dividing.split)
app.command("logs")(logs.logs)
app.add_typer(keys.app, name="keys")
app.add_typer(aliases.app, name="alias")
app.add_typer(hooks.app, name="hooks")
app.add_typer(webhooks.app, name="webhooks")
