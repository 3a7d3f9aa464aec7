"""Look at one upload: is it whole, is it good? Then it is registered.

An event is only a hint to look; the listing is the truth. What was found is kept as a `Drop` record and written beside
the upload as a report, and only when it changed: a report is no upload, and must not start one.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from chalicelib.domain.deploy import may_deploy
from chalicelib.domain.errors import NotYet, Rejected
from chalicelib.domain.findings import ArtifactFormat, Report, Verdict
from chalicelib.domain.formats import judge_upload
from chalicelib.domain.formats.container_yaml import FILE as CONTAINER
from chalicelib.domain.formats.container_yaml import read_container
from chalicelib.domain.image_bounds import hold
from chalicelib.domain.objects import Upload
from chalicelib.domain.refs import MANIFEST, VersionRef, upload_prefix
from chalicelib.domain.upload import gather, wait_until
from chalicelib.domain.version import Version
from chalicelib.pipeline.audit import BucketReader, illegal_name
from chalicelib.pipeline.deploy_yaml import settled
from chalicelib.pipeline.judgements import ACCEPTED, keep, rejected_after_all, rejection
from chalicelib.pipeline.ports import Gone, Ports
from chalicelib.pipeline.records import Drop, Records, Stored
from chalicelib.pipeline.reports import report_drop
from chalicelib.pipeline.transitions import transition
from chalicelib.pipeline.wakeups import wake_registration, wake_upload

# An upload that isn't whole is looked at again by its next event; this is for when that event gets lost.
LOOK_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True)
class Seen:
    """What was gathered of one upload."""

    upload: Upload
    drop: Stored[Drop] | None
    version: Stored[Version] | None


def look(prefix: str, ports: Ports) -> None:
    """Judge the upload under `prefix`, keep the judgement, and have it registered when it is whole and good."""
    seen = _gather(prefix, ports)
    if not seen.upload.files:
        return
    if seen.drop and seen.drop.value.judges(seen.upload.fingerprint):
        _finish(report_drop(seen.drop, ports), ports)
        return
    if seen.version:
        _tell_change(seen, seen.version.value, ports)
        return
    try:
        _await_quiet(seen.upload, ports)
        report = _judge(seen.upload, ports)
    except NotYet as error:
        keep(Report(prefix, Verdict.INCOMPLETE, missing=error.missing), seen.upload, seen.drop, ports)
        wake_upload(prefix, ports, after=timedelta(seconds=error.retry_after))
        return
    except Gone:  # replaced since it was listed
        wake_upload(prefix, ports)
        return
    _finish(report_drop(keep(report, seen.upload, seen.drop, ports), ports), ports)


def _finish(drop: Stored[Drop], ports: Ports) -> None:
    """Have an accepted upload registered, and an incomplete one looked at again."""
    if drop.value.status == ACCEPTED:
        wake_registration(drop.id, ports)
    elif drop.value.report.verdict is Verdict.INCOMPLETE:
        wake_upload(drop.id, ports, after=LOOK_AGAIN)


def _gather(prefix: str, ports: Ports) -> Seen:
    listing = [o for o in ports.drop.list(prefix) if upload_prefix(o.key) == prefix]
    records = Records(ports.registry)
    try:
        version = records.version(VersionRef.parse(prefix))
    except Rejected:
        version = None
    return Seen(gather(prefix, listing), records.get(Drop, prefix), version)


def _judge(upload: Upload, ports: Ports) -> Report:
    if illegal := illegal_name(upload.prefix):
        return illegal
    report = judge_upload(upload, BucketReader(ports.drop, upload), ports.limits, ports.policy)
    return _with_wishes(report, upload, ports) if report.verdict is Verdict.ACCEPT else report


def _await_quiet(upload: Upload, ports: Ports) -> None:
    """Raise NotYet while the upload is young; one with a manifest says itself when it is whole."""
    if MANIFEST in upload.paths:
        return
    now = ports.clock()
    # The keys too: a store may know open uploads by their exact key only.
    growing = ports.drop.open_uploads([upload.prefix, *(f.key for f in upload.files)])
    until = wait_until(upload, growing, now=now, quiet=ports.quiet)
    if until:
        wait = max(0.05, (until - now).total_seconds())
        raise NotYet("the upload is still growing", missing=("a quiet moment after the newest file",), retry_after=wait)


def _with_wishes(report: Report, upload: Upload, ports: Ports) -> Report:
    """Judge what `deploy.yaml` wishes for; a wish past a bound rejects the upload."""
    ref = VersionRef.parse(upload.prefix)
    try:
        wishes = settled(ref, deploy_yaml_of(upload, ports), ports)
        for name in wishes.endpoints:
            owner = Records(ports.registry).endpoint(name)
            may_deploy(owner.value.owner if owner else None, ref, name, ports.bounds)
    except Rejected as error:
        return rejected_after_all(report, rejection(upload.prefix, error, where="deploy.yaml"))
    return _with_image(report, upload, ports) if report.format is ArtifactFormat.CONTAINER else report


def _with_image(report: Report, upload: Upload, ports: Ports) -> Report:
    """Judge the image that `container.yaml` names; one past a bound rejects the upload."""
    item = upload.paths[CONTAINER]
    try:
        hold(read_container(ports.drop.read(item, 0, item.size)), ports.bounds)
    except Rejected as error:
        return rejected_after_all(report, rejection(upload.prefix, error, where=CONTAINER))
    return report


def deploy_yaml_of(upload: Upload, ports: Ports) -> str:
    """Return the text of an upload's deploy.yaml, "" without one; raises Rejected when it is no small text."""
    item = upload.paths.get("deploy.yaml")
    if not item:
        return ""
    try:
        return ports.drop.read(item, 0, 65_537)[:65_537].decode()
    except UnicodeDecodeError as error:
        raise Rejected("deploy.yaml is not UTF-8 text; save it as UTF-8", code="bad_deploy_yaml") from error


def _tell_change(seen: Seen, version: Version, ports: Ports) -> None:
    """Report that objects under a registered version changed; what serves never does."""
    message = "objects changed after the version was registered; what serves is what was registered"
    once = hashlib.sha256(seen.upload.fingerprint.encode()).hexdigest()
    told = transition("version.changed", str(version.ref), message, at=ports.clock(), once=once)
    ports.registry.commit([], [told])
