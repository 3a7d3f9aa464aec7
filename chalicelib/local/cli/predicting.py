"""`predict`: call an endpoint as an app does, and see who answered."""

import json
import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import Json, print_json
from chalicelib.local.cli.settings import AsJson

if TYPE_CHECKING:
    import httpx

_OURS = "x-modeldrop-"


def predict(
    context: typer.Context,
    endpoint: str,
    body: Annotated[str, typer.Argument(metavar="FILE|-|JSON", help="A file, - for stdin, or JSON.")],
    *,
    content_type: Annotated[str, typer.Option(help="Default: by the file's name, else application/json.")] = "",
    sticky_key: Annotated[str, typer.Option(help="Calls with the same key stay with one version.")] = "",
    alias: Annotated[str, typer.Option(help="Have the version of an alias answer.")] = "",
    version: Annotated[str, typer.Option(help="Have this version answer (scope dark:NAME).")] = "",
    as_json: AsJson = False,
) -> None:
    """Call an endpoint; who answered goes to stderr."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    content, guessed = _content(body)
    wishes = {"X-Modeldrop-Key": sticky_key, "X-Modeldrop-Alias": alias, "X-Modeldrop-Version": version}
    headers = {"Content-Type": content_type or guessed} | {name: wish for name, wish in wishes.items() if wish}
    with Platform.of(context.obj) as platform:
        answer = platform.send("POST", f"/v1/endpoints/{endpoint}/predict", content=content, headers=headers)
    answered_by = {name.removeprefix(_OURS): text for name, text in answer.headers.items() if name.startswith(_OURS)}
    if as_json:
        print_json({"status": answer.status_code, "answered_by": answered_by, "body": _body(answer)})
    else:
        _show(answer, answered_by)
    if not answer.is_success:
        raise typer.Exit(Status.NO)


def _content(body: str) -> tuple[bytes, str]:
    """Return what is sent, and its type as far as it can be told."""
    if body == "-":
        return sys.stdin.buffer.read(), "application/json"
    if _is_file(body):
        guessed = mimetypes.guess_type(body)[0]
        return Path(body).read_bytes(), guessed or "application/octet-stream"
    try:
        json.loads(body)
    except ValueError as error:
        raise Ended(Status.USAGE, f"{body[:80]!r} is no file that exists, and no JSON ({error})") from error
    return body.encode(), "application/json"


def _is_file(body: str) -> bool:
    try:
        return Path(body).is_file()
    except OSError:  # JSON may be too long for a file name
        return False


def _body(answer: "httpx.Response") -> Json:
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _show(answer: "httpx.Response", answered_by: dict[str, str]) -> None:
    sys.stdout.buffer.write(answer.content.rstrip(b"\n") + b"\n")
    sys.stdout.flush()
    who = "  ".join(f"{name}: {text}" for name, text in answered_by.items())
    print(f"{answer.status_code}  {who}", file=sys.stderr)
