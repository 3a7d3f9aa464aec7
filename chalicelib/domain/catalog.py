"""An entry of a cloud's own model catalogue: where its people look for models."""

from dataclasses import dataclass
from enum import StrEnum

from chalicelib.domain.findings import ArtifactFormat
from chalicelib.domain.refs import VersionRef


class Approval(StrEnum):
    """What became of a version: nothing yet, promoted once, or found bad."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True)
class CatalogEntry:
    """One registered version as the catalogue shows it."""

    ref: VersionRef
    digest: str
    format: ArtifactFormat
    store_prefix: str  # in the model store
    approval: Approval
