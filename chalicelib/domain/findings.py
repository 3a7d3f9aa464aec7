"""What validation says: findings as data, and the report that they make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """`error` rejects; `warning` is shown and lets pass."""

    ERROR = "error"
    WARNING = "warning"


class Verdict(StrEnum):
    ACCEPT = "accept"
    REJECT = "reject"
    INCOMPLETE = "incomplete"


class ArtifactFormat(StrEnum):
    SAVED_MODEL = "saved_model"
    TORCH_ARCHIVE = "torch_archive"
    PYTHON_PREDICTOR = "python_predictor"
    CONTAINER = "container"


@dataclass(frozen=True)
class Finding:
    """One thing that validation found. `code` is stable; `where` is a path, entry or field; `fix` says what to do."""

    code: str
    where: str
    message: str
    fix: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class PolicyChange:
    """A finding that the operator's policy made another: what it was, and what it counts as now."""

    code: str
    where: str
    message: str
    was: Severity
    now: str  # block | warn | allow


@dataclass(frozen=True)
class Report:
    """The judgement of one upload, whole: every finding, what is still missing, and the schema if one is known."""

    prefix: str
    verdict: Verdict
    format: ArtifactFormat | None = None
    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None  # {"inputs": {name: {"dtype", "shape"}}, "outputs": …}
    digest: str = ""  # from registration on
    policy: tuple[PolicyChange, ...] = ()  # what the operator's policy changed
    details: Mapping[str, Any] = field(default_factory=dict)  # framework version, handler, … as read
