"""`push`: upload an artifact as one version, its manifest last, so that nobody has to guess when it is whole."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chalicelib.domain.findings import Verdict
from chalicelib.domain.objects import StoredObject, Upload
from chalicelib.domain.refs import MANIFEST, VersionRef
from chalicelib.local.cli.annotating import annotate
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.output import Json, print_json
from chalicelib.local.cli.settings import AsJson, Settings

if TYPE_CHECKING:
    from chalicelib.domain.manifest import Manifest
    from chalicelib.local.local_files import LocalFiles

DROP = "drop"  # the drop bucket's name on one machine


@dataclass(frozen=True)
class Artifact:
    """Local files, named as they will be in the drop."""

    root: Path
    files: "LocalFiles"
    upload: Upload

    def path(self, file: StoredObject) -> Path:
        return self.root if self.root.is_file() else self.root / file.key.removeprefix(self.upload.prefix)

    @property
    def bytes(self) -> int:
        return sum(f.size for f in self.upload.files)


def push(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(exists=True, help="A model.mar, or an exported folder.")],
    version: Annotated[str, typer.Argument(metavar="MODEL/VERSION")],
    *,
    api: Annotated[bool, typer.Option("--api", help="By the API key alone: the platform signs the upload.")] = False,
    bucket: Annotated[str, typer.Option(help="The drop bucket.")] = DROP,
    s3_endpoint: Annotated[str, typer.Option(help="URL of an S3 other than this home's.")] = "",
    profile: Annotated[str, typer.Option(help="AWS profile; default: this home's uploader, else AWS's own.")] = "",
    validate: Annotated[bool, typer.Option(help="Judge it first by the platform's rules.")] = True,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is live or rolled back.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that --wait waits.")] = 1800,
    as_json: AsJson = False,
) -> None:
    """Upload an artifact as MODEL/VERSION."""
    settings: Settings = context.obj
    ref = VersionRef.parse(version)
    artifact = _artifact(path, ref)
    if validate:
        _validate(artifact)
    before = _before(ref, settings) if wait else None
    if api:
        _upload_by_api(artifact, ref, settings)
    else:
        _upload(artifact, settings, bucket, s3_endpoint, profile)
    done = {"model_id": ref.model_id, "version_id": ref.version_id, "bucket": bucket, "bytes": artifact.bytes}
    _tell(f"{len(artifact.upload.files)} files, {artifact.bytes} bytes are in the drop at {ref.prefix}")
    status = Status.OK
    if wait:
        status, done["outcome"] = _follow(ref, settings, before, timeout)
    if as_json:
        print_json({**done, "files": sorted(artifact.upload.paths)})
    raise typer.Exit(status)


def _artifact(path: Path, ref: VersionRef) -> Artifact:
    from chalicelib.domain.upload import gather  # noqa: PLC0415
    from chalicelib.local.local_files import LocalFiles  # noqa: PLC0415 - formats are many modules

    files = LocalFiles(path, ref.prefix)
    whole = gather(ref.prefix, files.list())
    upload = Upload(ref.prefix, tuple(f for f in whole.files if f.key != ref.prefix + MANIFEST))
    if not upload.files:
        raise Ended(Status.USAGE, f"{path} holds no files")
    return Artifact(path, files, upload)


def _validate(artifact: Artifact) -> None:
    from chalicelib.domain.formats import judge_upload  # noqa: PLC0415 - many modules
    from chalicelib.domain.report_text import as_text  # noqa: PLC0415
    from chalicelib.pipeline.audit import BucketReader  # noqa: PLC0415

    report = judge_upload(artifact.upload, BucketReader(artifact.files, artifact.upload))
    if report.verdict is Verdict.ACCEPT:
        return
    status = Status.NO if report.verdict is Verdict.REJECT else Status.NOT_YET
    raise Ended(status, f"nothing was uploaded (--no-validate would):\n{as_text(report).rstrip()}")


def _upload_by_api(artifact: Artifact, ref: VersionRef, settings: Settings) -> None:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx
    from chalicelib.local.cli.uploading import upload_by_api  # noqa: PLC0415 - httpx

    manifest = _manifest(artifact)
    paths = {path: artifact.path(file) for path, file in artifact.upload.paths.items()}
    with Platform.of(settings) as platform, _progress("uploading", artifact.bytes) as advance:
        upload_by_api(ref, manifest, paths.__getitem__, platform, advance)


def _upload(artifact: Artifact, settings: Settings, bucket: str, s3_endpoint: str, profile: str) -> None:
    from chalicelib.local.cli.storage import client_of, said  # noqa: PLC0415 - boto3

    client = client_of(settings.home, s3_endpoint, profile)
    manifest = _manifest(artifact)
    with said(f"s3://{bucket}"), _progress("uploading", artifact.bytes) as advance:
        for file in artifact.upload.files:
            with artifact.path(file).open("rb") as body:
                client.upload_fileobj(body, bucket, file.key, Callback=advance)
        client.put_object(
            Bucket=bucket,
            Key=artifact.upload.prefix + MANIFEST,
            Body=manifest.to_json(),
            ContentType="application/json",
        )


def _manifest(artifact: Artifact) -> "Manifest":
    from chalicelib.domain.manifest import manifest_of  # noqa: PLC0415

    with _progress("hashing", artifact.bytes) as advance:

        def blocks(file: StoredObject) -> Iterator[bytes]:
            for block in artifact.files.stream(file):
                advance(len(block))
                yield block

        return manifest_of((path, blocks(file)) for path, file in artifact.upload.paths.items())


@contextmanager
def _progress(what: str, total: int) -> Iterator[Any]:
    """Show a bar on stderr, where that is a terminal; gives a function to call with bytes done."""
    from rich.console import Console  # noqa: PLC0415 - costs start-up time
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    out = Console(stderr=True)
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _before(ref: VersionRef, settings: Settings) -> Json:
    """Return how the version is shown before the upload; raises Ended when it is taken."""
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx
    from chalicelib.local.cli.following import shown  # noqa: PLC0415

    with Platform.of(settings) as platform:
        before = shown(ref, platform)
    if before and before["status"] in {"registered", "unservable"}:
        raise Ended(Status.NO, f"{ref} is registered, and a version never changes: choose another VERSION_ID")
    return before


def _follow(ref: VersionRef, settings: Settings, before: Json, timeout: float) -> tuple[Status, str]:
    from chalicelib.local.cli.connection import Platform  # noqa: PLC0415 - httpx
    from chalicelib.local.cli.following import follow  # noqa: PLC0415

    with Platform.of(settings) as platform:
        sight = follow(ref, platform, before=before, timeout=timeout, tell=_tell)
    status = sight.status or Status.OK
    _tell(sight.what)
    annotate(f"{ref} is {'live' if status is Status.OK else 'not live'}", sight.what, failed=status is not Status.OK)
    return status, sight.what


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
