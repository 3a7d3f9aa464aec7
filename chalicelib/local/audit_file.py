"""Where one machine keeps the calls of hooks: a file that its owner alone may read, and that grows to a bound."""

import json
import os
import threading
from pathlib import Path

from chalicelib.domain.hook_audit import AuditLine, Minute, tell

MOST_BYTES = 32 * 2**20  # then it is set aside as `.1`, in place of what was before


class AuditFile:
    """`pipeline.ports.Audit`: one JSON line for each call; any number of threads may call it."""

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most
        self._minute: Minute | None = None
        self._lock = threading.Lock()

    def __call__(self, line: AuditLine) -> None:
        with self._lock:
            told, self._minute = tell(line, self._minute)
            if told:
                self._write(json.dumps(told.to_json()).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(line) > self._most:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)
