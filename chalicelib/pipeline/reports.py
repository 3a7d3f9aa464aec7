"""What we write into the drop: reports where the uploader can see them, written only when their content changes."""

import json
from dataclasses import replace

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Report
from chalicelib.domain.refs import VersionRef, stray_report_key
from chalicelib.domain.report_text import as_json, as_text
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Drop, Stored


def report_drop(drop: Stored[Drop], ports: Ports) -> Stored[Drop]:
    """Write a drop's report unless that was done, and remember it; a crash in between only repeats the writing."""
    if drop.value.reported:
        return drop
    _write(drop.value.report, ports)
    done = drop.to(reported=True)
    ports.registry.commit([done.write])
    return replace(done, revision=done.revision + 1)


def _write(report: Report, ports: Ports) -> None:
    """Write `_report.json` and `_report.txt` beside the upload, or under `_reports/` when its ids aren't legal."""
    machine = json.dumps(as_json(report), indent=2, sort_keys=True).encode()
    try:
        prefix = VersionRef.parse(report.prefix).prefix
    except Rejected:
        _put(stray_report_key(report.prefix), machine, "application/json", ports)
        return
    _put(prefix + "_report.json", machine, "application/json", ports)
    _put(prefix + "_report.txt", as_text(report).encode(), "text/plain; charset=utf-8", ports)


def _put(key: str, body: bytes, content_type: str, ports: Ports) -> None:
    if ports.drop.get(key) != body:
        ports.drop.put(key, body, content_type)
