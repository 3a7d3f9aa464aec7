"""What replicas print, kept up to a size: strangers' code must not fill the disk."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path

LIMIT = 4 * 2**20  # bytes of one file; the one before it is kept beside it as `.1`
LONGEST_LINE = 4096  # characters that are shown


class Log:
    """A file that is set aside when it is full."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._size = path.stat().st_size if path.exists() else 0

    def write(self, block: bytes) -> None:
        if self._size + len(block) > self._limit:
            self.path.replace(_older(self.path))
            self._size = 0
        with self.path.open("ab") as file:
            file.write(block)
        self._size += len(block)

    def mark(self) -> int:
        """Return where the next attempt's lines begin."""
        return self._size

    def lines(self, count: int, since: int = 0) -> list[str]:
        """Return the newest lines (written since a mark, where the file wasn't set aside meanwhile)."""
        return tail(self.path, count, since if since <= self._size else 0)


def tail(path: Path, count: int, since: int = 0) -> list[str]:
    """Return the newest lines of a log and of the one that was set aside before it."""
    newest: deque[str] = deque(maxlen=count)
    for part in [path] if since else [_older(path), path]:
        if part.exists():
            newest.extend(_lines(part, since))
    return list(newest)


def _lines(path: Path, since: int) -> Iterable[str]:
    with path.open("rb") as file:
        file.seek(since)
        for line in file:
            yield line.decode(errors="replace").rstrip("\n")[:LONGEST_LINE]


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")
