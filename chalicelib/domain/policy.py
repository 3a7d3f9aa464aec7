"""What an operator makes of findings: each code blocks, warns or is allowed. An uploader has no say in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Finding, PolicyChange, Report, Severity, Verdict


class Action(StrEnum):
    """What a finding does: reject, be shown, or be left out of the findings (and named in the report's `policy`)."""

    BLOCK = "block"
    WARN = "warn"
    ALLOW = "allow"


# Past one of these the bytes have no one reading, or nothing was read, or there is nothing to serve.
ALWAYS_BLOCK = frozenset({
    "illegal_name", "illegal_path", "file_and_folder", "too_many_files", "wrong_depth", "two_artifacts",
    "loose_model", "archive_name", "archive_form", "bad_container", "bad_golden", "container_not_served", "empty_file",
    "lfs_pointer", "error_page", "bad_manifest", "missing_file", "bad_zip", "hidden_bytes", "header_mismatch",
    "wrong_crc", "duplicate_entry", "illegal_entry_name", "encrypted_entry", "unknown_compression", "stored_descriptor",
    "special_entry", "too_many_entries", "too_large", "no_manifest", "bad_saved_model",
    "no_serve_tag", "bad_variables_index",
})  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """Actions by finding code; a code that isn't named keeps the severity that validation gives it."""

    actions: Mapping[str, Action] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refused = sorted(c for c, action in self.actions.items() if c in ALWAYS_BLOCK and action is not Action.BLOCK)
        if refused:
            names = ", ".join(refused)
            raise Rejected(f"policy: {names} always blocks: what it is about was not read, or has two readings")

    @property
    def tolerated(self) -> frozenset[str]:
        """The codes that don't reject, whatever validation says of them."""
        return frozenset(code for code, action in self.actions.items() if action is not Action.BLOCK)


NO_POLICY = Policy()


def apply(policy: Policy, report: Report) -> Report:
    """Return a report with every finding as the policy has it, the verdict that follows, and what was changed."""
    kept = tuple(f for f in (_judged(policy, f) for f in report.findings) if f is not None)
    changes = tuple(c for c in (_change(policy, f) for f in report.findings) if c is not None)
    return replace(report, findings=kept, verdict=verdict_of(kept, report.missing), policy=changes)


def verdict_of(findings: Iterable[Finding], missing: Iterable[str]) -> Verdict:
    """Return what findings and what is missing come to: an error rejects, else something missing is awaited."""
    if any(f.severity is Severity.ERROR for f in findings):
        return Verdict.REJECT
    return Verdict.INCOMPLETE if tuple(missing) else Verdict.ACCEPT


def _judged(policy: Policy, finding: Finding) -> Finding | None:
    match policy.actions.get(finding.code):
        case Action.ALLOW:
            return None
        case Action.WARN:
            return replace(finding, severity=Severity.WARNING)
        case Action.BLOCK:
            return replace(finding, severity=Severity.ERROR)
    return finding


def _change(policy: Policy, finding: Finding) -> PolicyChange | None:
    if _judged(policy, finding) == finding:
        return None
    action = policy.actions[finding.code]
    return PolicyChange(finding.code, finding.where, finding.message, finding.severity, action)
