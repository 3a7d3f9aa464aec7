"""Names: what a legal MODEL_ID, VERSION_ID and endpoint name is, and where they stand in a key.

The only module that takes keys apart.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from chalicelib.domain.errors import Rejected

NAME_RULE = "1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit, without '..'"
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_OWN_FILES = ("_report.json", "_report.txt")
_OWN_FOLDER = "_reports/"
# Written beside an upload to say something about it; no part of what is sealed and served.
MANIFEST = "_manifest.json"
MARKERS = (MANIFEST, "_SUCCESS")


def is_legal(name: str) -> bool:
    """Tell whether a MODEL_ID, VERSION_ID or endpoint name is legal."""
    return _NAME.match(name) is not None


@dataclass(frozen=True, order=True)
class VersionRef:
    """One version of one model: (MODEL_ID, VERSION_ID), both legal."""

    model_id: str
    version_id: str

    def __post_init__(self) -> None:
        for what, name in (("MODEL_ID", self.model_id), ("VERSION_ID", self.version_id)):
            if not is_legal(name):
                raise Rejected(f"{what} {name[:80]!r} is not legal: {NAME_RULE}; rename it", code="illegal_name")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `MODEL_ID/VERSION_ID`, with or without a closing slash; raises Rejected."""
        match text.removesuffix("/").split("/"):
            case [model_id, version_id]:
                return cls(model_id, version_id)
        raise Rejected(f"{text[:160]!r} is not MODEL_ID/VERSION_ID; name both, once", code="illegal_name")

    @property
    def prefix(self) -> str:
        """Where its upload lies: `MODEL_ID/VERSION_ID/`."""
        return f"{self.model_id}/{self.version_id}/"

    def __str__(self) -> str:
        return f"{self.model_id}/{self.version_id}"


def has_legal_ids(prefix: str) -> bool:
    """Tell whether a prefix is a legal `MODEL_ID/VERSION_ID/`."""
    parts = prefix.removesuffix("/").split("/")
    return len(parts) == 2 and all(is_legal(p) for p in parts)  # noqa: PLR2004


def is_ours(key: str) -> bool:
    """Tell whether we wrote that key of the drop: reports are not uploads."""
    match key.split("/"):
        case [_, _, file]:
            return file in _OWN_FILES or key.startswith(_OWN_FOLDER)
    return key.startswith(_OWN_FOLDER)


def upload_prefix(key: str) -> str:
    """Return the prefix that a drop's key belongs to: its first two segments, or what there is of them."""
    parts = key.split("/")
    return "/".join(parts[:2]) + "/" if len(parts) > 2 else "/".join(parts[:-1]) + "/" * (len(parts) > 1)  # noqa: PLR2004


def stray_report_key(prefix: str) -> str:
    """Return where an upload without legal ids is reported."""
    return f"{_OWN_FOLDER}{quote(prefix.removesuffix('/') or '(root)', safe='')}.json"
