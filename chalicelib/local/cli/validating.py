"""`validate`: the platform's own rules, before anything is uploaded, or over a bucket that is to be adopted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from chalicelib.domain.findings import Report, Verdict
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import print_json
from chalicelib.local.cli.settings import AsJson, Settings

_S3 = "s3://"


def validate(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH|s3://BUCKET[/PREFIX]")],
    *,
    s3_endpoint: Annotated[str, typer.Option(help="URL of an S3 other than AWS.")] = "",
    profile: Annotated[str, typer.Option(help="AWS profile; default: this home's uploader, else AWS's own.")] = "",
    bounds: Annotated[Path | None, typer.Option(help="YAML file: the operator's limits and policy.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge an artifact, or every upload of a bucket as if it were quiet. Nothing is loaded or run."""
    from chalicelib.domain.report_text import as_json as json_of  # noqa: PLC0415 - formats are many modules
    from chalicelib.domain.report_text import as_text  # noqa: PLC0415

    verdicts = []
    for report in _reports(path, s3_endpoint, profile, context.obj, bounds):
        verdicts.append(report.verdict)
        if as_json:
            print_json(json_of(report))
        else:
            print(as_text(report), end="")
    if not verdicts:
        raise Ended(Status.NOT_YET, f"{path}: no upload is there; name a folder, a model.mar or a bucket with uploads")
    raise typer.Exit(status_of(verdicts))


def status_of(verdicts: list[Verdict]) -> Status:
    """Return the exit status for what was judged: one rejected upload is a no."""
    if Verdict.REJECT in verdicts:
        return Status.NO
    return Status.NOT_YET if Verdict.INCOMPLETE in verdicts else Status.OK


def _reports(path: str, s3_endpoint: str, profile: str, settings: Settings, bounds: Path | None) -> Iterator[Report]:
    from chalicelib.local.bounds_file import read_operator_file  # noqa: PLC0415 - pydantic
    from chalicelib.operator_settings import OperatorSettings  # noqa: PLC0415 - pydantic

    said = read_operator_file(bounds) if bounds else OperatorSettings()
    if path.startswith(_S3):
        from chalicelib.adapters.s3 import S3Bucket  # noqa: PLC0415 - boto3
        from chalicelib.local.cli.storage import client_of  # noqa: PLC0415 - boto3
        from chalicelib.local.cli.storage import said as said_of  # noqa: PLC0415 - boto3
        from chalicelib.pipeline.audit import audit  # noqa: PLC0415 - formats are many modules

        name, _, prefix = path.removeprefix(_S3).partition("/")
        with said_of(path):
            bucket = S3Bucket(client_of(settings.home, s3_endpoint, profile), name)
            yield from audit(bucket, prefix, limits=said.limits, policy=said.policy)
    elif Path(path).exists():
        from chalicelib.local.local_files import audit_path  # noqa: PLC0415 - formats are many modules

        yield from audit_path(Path(path), limits=said.limits, policy=said.policy)
    else:
        raise Ended(Status.USAGE, f"{path}: there is no such file or folder")
