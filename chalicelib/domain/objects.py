"""What a bucket holds, as values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class StoredObject:
    """One object of a listing. `version_id` is empty where the store keeps no versions."""

    key: str
    size: int  # bytes
    etag: str
    modified: datetime  # aware, UTC
    version_id: str = ""


@dataclass(frozen=True)
class Upload:
    """The objects under one `MODEL_ID/VERSION_ID/`, paths relative to it, without our own files and folder markers."""

    prefix: str
    files: tuple[StoredObject, ...]  # sorted by key

    @property
    def paths(self) -> dict[str, StoredObject]:
        """Each file by its path below the prefix."""
        return {f.key.removeprefix(self.prefix): f for f in self.files}

    @property
    def fingerprint(self) -> str:
        """What a verdict is final for: path, size and ETag or VersionId of every file."""
        return "\n".join(f"{path}\t{f.size}\t{f.version_id or f.etag}" for path, f in sorted(self.paths.items()))
