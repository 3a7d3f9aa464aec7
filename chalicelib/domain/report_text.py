"""A report for people and for programs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from chalicelib.domain.findings import Finding, Report
from chalicelib.domain.refs import VersionRef, has_legal_ids

_SHOWN = 300  # characters of what an upload says of itself
_AS = {"block": "an error", "warn": "a warning", "allow": "nothing"}


def ref_of(prefix: str) -> VersionRef | None:
    """Return the version that a prefix names; None where it names none legally."""
    return VersionRef.parse(prefix) if has_legal_ids(prefix) else None


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON, always with the same keys."""
    ref = ref_of(report.prefix)
    return {
        "key_prefix": report.prefix,
        "model_id": ref.model_id if ref else None,
        "version_id": ref.version_id if ref else None,
        "format": report.format,
        "verdict": report.verdict,
        "findings": [{name: str(value) for name, value in asdict(f).items()} for f in report.findings],
        "missing": list(report.missing),
        "policy": [{name: str(value) for name, value in asdict(c).items()} for c in report.policy],
        "schema": report.schema,
        "digest": report.digest or None,
        "details": dict(report.details),
    }


def summary(report: Report, shown: int = 20) -> dict[str, Any]:
    """Return what an event carries of a report: it is small, however much was found."""
    codes = list(dict.fromkeys(f.code for f in report.findings))
    counts = Counter(str(f.severity) for f in report.findings)
    return {
        "verdict": str(report.verdict),
        "format": str(report.format) if report.format else None,
        "errors": counts["error"],
        "warnings": counts["warning"],
        "codes": codes[:shown],
        "changed_by_policy": len(report.policy),
    }


def as_text(report: Report) -> str:
    """Return a report as lines for a person: the verdict, every finding with its remedy, and what is awaited."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"{_printable(report.prefix) or '(root)'}: {report.verdict}" + (
        f" ({report.format})" if report.format else ""
    )
    for finding in report.findings:
        yield from _finding(finding)
    for change in report.policy:
        was, now = change.was, _AS[change.now]
        yield f"  policy [{change.code}]: {was} made {now} by the operator: {_printable(change.message)}"
    for what in report.missing:
        yield f"  missing: {_printable(what)}"
    for side, tensors in (report.schema or {}).items():
        for name, tensor in tensors.items():
            yield f"  {side.removesuffix('s')} {_printable(name)}: {tensor['dtype']} {_shape(tensor['shape'])}"
    if report.digest:
        yield f"  digest: {report.digest}"


def _finding(finding: Finding) -> Iterator[str]:
    where = f" {_printable(finding.where)}:" if finding.where else ""
    yield f"  {finding.severity} [{finding.code}]{where} {_printable(finding.message)}"
    yield f"    fix: {_printable(finding.fix)}"


def _shape(shape: list[int | None] | None) -> str:
    return "of any shape" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


def _printable(text: str) -> str:
    """Return a text without control characters: names come from strangers and go to terminals."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])
