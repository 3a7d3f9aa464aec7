"""`up` and `demo`: run the platform here, and show it at work."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import chalicelib
from chalicelib.domain.split import WHOLE
from chalicelib.local.cli.exits import Ended, Status

if TYPE_CHECKING:
    from chalicelib.local.options import UpOptions

_DEMO = Path("examples", "digits", "demo.py")
_STORES = ("minio", "embedded")
_FLEETS = ("processes", "container")


def up(
    context: typer.Context,
    *,
    store: Annotated[str, typer.Option(help="minio, embedded (in memory), or an S3's URL.")] = "minio",
    s3_endpoint: Annotated[str, typer.Option(help="URL of any other S3; keys come from the AWS environment.")] = "",
    s3_url: Annotated[str, typer.Option(help="URL by which uploaders elsewhere reach the store.")] = "",
    host: Annotated[str, typer.Option(help="Address that the gateway listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the gateway; 0 takes a free one.")] = 8443,
    s3_port: Annotated[int, typer.Option(help="Port of the store; 0 takes a free one.")] = 9000,
    cert: Annotated[Path | None, typer.Option(help="PEM certificate, instead of the platform's own CA.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key", help="PEM key of --cert.")] = None,
    steps: Annotated[str, typer.Option(help="Canary percents of a rollout, such as 5,25,50,100.")] = "",
    step_time: Annotated[float | None, typer.Option(min=0, help="Least seconds at each step.")] = None,
    min_requests: Annotated[int | None, typer.Option(min=1, help="Canary requests that a step needs.")] = None,
    keep_warm: Annotated[float | None, typer.Option(min=0, help="Seconds that the previous version stays.")] = None,
    quiet_period: Annotated[float | None, typer.Option(min=0, help="Seconds without a new file.")] = None,
    bounds: Annotated[Path | None, typer.Option(help="YAML file: the operator's bounds and validation.")] = None,
    fleet: Annotated[str, typer.Option(help="processes, or container: what runs the models.")] = "processes",
    tensorflow_image: Annotated[str, typer.Option(help="Serving image of SavedModels, with --fleet container.")] = "",
    pytorch_image: Annotated[str, typer.Option(help="Serving image of all others, with --fleet container.")] = "",
) -> None:
    """Run the platform in the foreground; Ctrl-C drains and stops everything."""
    _check(store, cert, key_file, fleet)
    from chalicelib.local.options import UpOptions  # noqa: PLC0415 - pydantic

    options = UpOptions(
        home=context.obj.home,
        store=store if store in _STORES else "minio",
        s3_endpoint=s3_endpoint or ("" if store in _STORES else store),
        s3_url=s3_url,
        host=host,
        port=port,
        s3_port=s3_port,
        cert=cert,
        key_file=key_file,
        steps=_percents(steps),
        step_time=_seconds(step_time),
        min_requests=min_requests,
        keep_warm=_seconds(keep_warm),
        quiet_period=_seconds(quiet_period),
        **_operators(bounds),
        fleet=fleet,
        **_named(tensorflow_image=tensorflow_image, pytorch_image=pytorch_image),
    )
    _run(options)


def _check(store: str, cert: Path | None, key_file: Path | None, fleet: str) -> None:
    if fleet not in _FLEETS:
        raise Ended(Status.USAGE, f"--fleet {fleet}: give {' or '.join(_FLEETS)}")
    if (cert is None) != (key_file is None):
        raise Ended(Status.USAGE, "--cert and --key go together: give both or none")
    if store not in _STORES and not store.startswith(("http://", "https://")):
        raise Ended(Status.USAGE, f"--store {store}: give minio, embedded or a URL")


def _named(**images: str) -> dict[str, Any]:
    """Return the images that were named; the others stay the platform's own."""
    return {name: image for name, image in images.items() if image}


def _operators(path: Path | None) -> dict[str, Any]:
    """Return what the operator's file says, as the platform takes it."""
    from chalicelib.local.bounds_file import read_operator_file  # noqa: PLC0415 - pydantic
    from chalicelib.operator_settings import OperatorSettings  # noqa: PLC0415 - pydantic

    said = read_operator_file(path) if path else OperatorSettings()
    return {"bounds": said.bounds, "limits": said.limits, "policy": said.policy}


def _run(options: "UpOptions") -> None:
    """Run the platform; that a port or a file isn't ours to use is said in one line."""
    from chalicelib.local.platform import run  # noqa: PLC0415 - loads servers and stores

    try:
        run(options)
    except OSError as error:
        raise Ended(Status.NO, f"the platform can't start: {error}") from error


def demo(context: typer.Context) -> None:
    """Train, drop, roll out and roll back handwritten-digit models: the whole path in a few minutes.

    Takes --store auto|embedded|minio, --keep (leave the platform running afterwards) and --out FOLDER.
    """
    script = Path(chalicelib.__file__).parents[1] / _DEMO
    if not script.is_file():
        raise Ended(Status.USAGE, f"the demo is part of a checkout, and {script} isn't there: clone the repository")
    raise typer.Exit(subprocess.call([sys.executable, str(script), *context.args]))


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _percents(text: str) -> tuple[int, ...] | None:
    try:
        steps = tuple(int(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise Ended(Status.USAGE, f"--steps {text}: give whole percents, such as 5,25,50,100") from error
    if steps and (list(steps) != sorted(set(steps)) or len(steps) == 1 or steps[0] < 1 or steps[-1] != WHOLE):
        raise Ended(Status.USAGE, f"--steps {text}: give two or more growing percents that end at 100")
    return steps
