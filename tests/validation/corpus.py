"""Every kind of upload, good and bad, by a name that says what it is: its files, the verdict and the codes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chalicelib.domain.findings import Finding, Report, Severity, Verdict
from chalicelib.domain.formats import DEFAULTS, Limits, judge_upload
from chalicelib.domain.upload import gather
from chalicelib.pipeline.audit import illegal_name
from tests.domain.uploads import THEN, Memory, StoredObject

Files = Mapping[str, bytes]
PREFIX = "digits/1/"


@dataclass(frozen=True)
class Built:
    """The folders that the real exporters filled."""

    saved_models: Path
    exports: Path
    archives: Path
    weights: Path


@dataclass(frozen=True)
class Case:
    """One upload: `files` may need what was built; `codes` are all that its findings have."""

    files: Files | Callable[[Built], Files]
    verdict: Verdict
    codes: frozenset[str] = frozenset()
    limits: Limits = DEFAULTS
    prefix: str = PREFIX

    def of(self, built: Built | None) -> Files:
        if not callable(self.files):
            return self.files
        assert built is not None, "it needs what the exporters built"
        return self.files(built)


def good(files: Files | Callable[[Built], Files], *warnings: str) -> Case:
    return Case(files, Verdict.ACCEPT, frozenset(warnings))


def bad(files: Files | Callable[[Built], Files], *codes: str, limits: Limits = DEFAULTS, prefix: str = PREFIX) -> Case:
    return Case(files, Verdict.REJECT, frozenset(codes), limits, prefix)


def unfinished(files: Files | Callable[[Built], Files], *codes: str) -> Case:
    return Case(files, Verdict.INCOMPLETE, frozenset(codes))


def judged(case: Case, built: Built | None = None) -> Report:
    """Judge a case as a bucket's audit does: the prefix, then what of the listing belongs to it."""
    files = case.of(built)
    listing = [StoredObject(case.prefix + path, len(files[path]), f"etag-{path}", THEN) for path in files]
    return illegal_name(case.prefix) or judge_upload(gather(case.prefix, listing), Memory(files), case.limits)


def without(report: Report, drops: Callable[[Finding], bool]) -> Report:
    """Return the report that would have been given without some of its findings."""
    left = tuple(f for f in report.findings if not drops(f))
    rejects = any(f.severity is Severity.ERROR for f in left)
    waits = Verdict.INCOMPLETE if report.missing else Verdict.ACCEPT
    return replace(report, findings=left, verdict=Verdict.REJECT if rejects else waits)


def outcome(report: Report) -> tuple[Verdict, frozenset[str]]:
    return report.verdict, frozenset(f.code for f in report.findings)
