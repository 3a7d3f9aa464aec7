"""Removing folders that hold read-only files or what a stranger's program left."""

import os
import shutil
from pathlib import Path


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, whatever its permissions; nothing happens where there is none."""
    if not folder.exists():
        return
    if os.geteuid() != 0:  # root needs no permission, and mustn't change any through links that a stranger left
        _unlock(folder)
    shutil.rmtree(folder)


def _unlock(folder: Path) -> None:
    folder.chmod(0o700)
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o700)  # before the walk goes into it
