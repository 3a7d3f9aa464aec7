"""A judgement of an upload: how it is kept and told to the world."""

from collections.abc import Mapping
from dataclasses import replace

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Finding, Report, Severity, Verdict
from chalicelib.domain.objects import Upload
from chalicelib.domain.report_text import summary
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Drop, Stored
from chalicelib.pipeline.transitions import transition

ACCEPTED = "validated"  # a drop that waits to be registered
REGISTERED = "registered"  # a drop that is a version
_REASONS = 5  # that an event says


def rejection(prefix: str, error: Rejected, where: str) -> Report:
    finding = Finding(code=error.code, where=where, message=str(error), fix="correct it and upload again")
    return Report(prefix, Verdict.REJECT, findings=(finding,))


def rejected_after_all(report: Report, rejected: Report) -> Report:
    """Return an accepting report with the findings of what came after it; what was read stays in it."""
    return replace(report, verdict=rejected.verdict, findings=report.findings + rejected.findings)


_STATUS: Mapping[Verdict, str] = {
    Verdict.ACCEPT: ACCEPTED,
    Verdict.REJECT: "rejected",
    Verdict.INCOMPLETE: "uploading",
}


def keep(report: Report, upload: Upload, before: Stored[Drop] | None, ports: Ports) -> Stored[Drop]:
    """Keep a judgement, unless it is the one that was kept; returns it as it is stored."""
    drop = Drop(upload.prefix, _STATUS[report.verdict], report, upload.fingerprint, ports.clock())
    if before and replace(before.value, seen=drop.seen, reported=False) == drop:
        return before
    stored = Stored(drop.prefix, drop, before.revision if before else 0)
    ports.registry.commit([stored.write], _told(drop, before))
    return replace(stored, revision=stored.revision + 1)


def _told(drop: Drop, before: Stored[Drop] | None) -> list[Transition]:
    """Return what is told to the world of a judgement: that an upload began, and that one was rejected."""
    subject = drop.prefix.removesuffix("/")
    if drop.status == "rejected":
        reasons, about = _reasons(drop.report), summary(drop.report)
        return [transition("drop.rejected", subject, reasons, at=drop.seen, once=drop.fingerprint, **about)]
    if not before:
        return [transition("drop.seen", subject, "an upload began", at=drop.seen, once=drop.fingerprint)]
    return []


def _reasons(report: Report) -> str:
    """Return why an upload was rejected, short enough for an event; the report has it all."""
    errors = [f.message for f in report.findings if f.severity is Severity.ERROR]
    more = [f"and {len(errors) - _REASONS} more"] if len(errors) > _REASONS else []
    return "; ".join([*errors[:_REASONS], *more])
