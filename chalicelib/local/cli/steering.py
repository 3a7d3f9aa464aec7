"""`start`, `promote`, `approve`, `abort`, `rollback`, `pause`, `resume`: what a person wishes for a rollout."""

from typing import Annotated

import typer

from chalicelib.domain.refs import VersionRef
from chalicelib.local.cli.output import Json, print_json
from chalicelib.local.cli.settings import AsJson

Name = Annotated[str, typer.Argument(metavar="ENDPOINT")]


def start(
    context: typer.Context,
    endpoint: Name,
    version: Annotated[str, typer.Argument(metavar="MODEL/VERSION")],
    *,
    as_json: AsJson = False,
) -> None:
    """Start a rollout to a registered version."""
    ref = VersionRef.parse(version)
    _ask(context, endpoint, "rollouts", {"model_id": ref.model_id, "version_id": ref.version_id}, as_json=as_json)


def promote(context: typer.Context, endpoint: Name, *, as_json: AsJson = False) -> None:
    """Promote the canary without waiting for its verdict."""
    _ask(context, endpoint, "promote", as_json=as_json)


def approve(context: typer.Context, endpoint: Name, *, as_json: AsJson = False) -> None:
    """Approve the step that the rollout waits before."""
    _ask(context, endpoint, "approve", as_json=as_json)


def abort(context: typer.Context, endpoint: Name, *, as_json: AsJson = False) -> None:
    """End the open rollout; all traffic goes back to stable."""
    _ask(context, endpoint, "abort", as_json=as_json)


def rollback(context: typer.Context, endpoint: Name, *, as_json: AsJson = False) -> None:
    """Go back to the version promoted before, while it is still warm."""
    _ask(context, endpoint, "rollback", as_json=as_json)


def pause(context: typer.Context, endpoint: Name, *, as_json: AsJson = False) -> None:
    """Stop the rollout's steps; a failing canary still goes back."""
    _ask(context, endpoint, "pause", as_json=as_json)


def resume(context: typer.Context, endpoint: Name, *, as_json: AsJson = False) -> None:
    """Let a paused rollout go on."""
    _ask(context, endpoint, "resume", as_json=as_json)


def _ask(context: typer.Context, endpoint: str, what: str, body: Json = None, *, as_json: bool) -> None:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx

    with Platform.of(context.obj) as platform:
        answer = platform.post(f"/v1/endpoints/{endpoint}/{what}", body)
    if as_json:
        print_json(answer)
    else:
        print(
            f"{endpoint}: {'start' if body else what} is accepted; `modeldrop watch {endpoint}` shows what comes of it"
        )
