"""Opening a .mar: its files into a private folder, its manifest and its configuration."""

import json
import stat
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from modelserver.errors import LoadError

MANIFEST = "MAR-INF/MANIFEST.json"


@dataclass(frozen=True, slots=True)
class Archive:
    """An unpacked archive; `folder` is ours and temporary."""

    folder: Path
    manifest: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, Any]:
        section: dict[str, Any] = self.manifest.get("model", {})
        return section

    def path_of(self, entry: str) -> Path | None:
        """File that a manifest entry (modelFile, serializedFile, configFile) names, if it names one."""
        name = self.model.get(entry)
        return self.folder / name if name else None


def unpack(path: Path, scratch: Path) -> Archive:
    """Unpack below our temporary folder; raise LoadError where a name leaves it or the manifest is unusable."""
    folder = scratch / "model"
    folder.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _check_entry(entry)
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise LoadError(f"{path.name} is not a zip archive: {error}; build it with torch-model-archiver") from error
    return _opened(folder)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = PurePosixPath(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.is_absolute() or ".." in name.parts or "\\" in entry.filename:
        raise LoadError(f"archive entry {entry.filename!r} leaves the archive's folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise LoadError(f"archive entry {entry.filename!r} is neither a file nor a folder")


def _opened(folder: Path) -> Archive:
    manifest = _manifest(folder)
    archive = Archive(folder, manifest)
    config_path = archive.path_of("configFile")
    return Archive(folder, manifest, _config(config_path) if config_path else {})


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise LoadError(f"{MANIFEST} cannot be read: {error}; build the archive with torch-model-archiver") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("model"), dict):
        raise LoadError(f'{MANIFEST} has no object "model"; build the archive with torch-model-archiver')
    return manifest


def _config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_bytes()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise LoadError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise LoadError(f"{path.name} must hold a mapping")
    return config
