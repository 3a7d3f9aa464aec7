"""The tests' custom container: built from its source once, kept, and given to whatever runs containers here."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pytest

from chalicelib.domain.errors import Rejected
from chalicelib.local.fleet.container_engine import Engine, find_engine

SOURCE = Path(__file__).parent / "container_server"
KEPT = Path("~/.cache/modeldrop/bin").expanduser()


@cache
def here() -> Engine | Rejected:
    try:
        return find_engine()
    except Rejected as why:
        return why


def engine() -> Engine:
    """Return what runs containers here; the test is skipped, with the reason, where nothing does."""
    found = here()
    if isinstance(found, Rejected):
        pytest.skip(str(found))
    return found


@cache
def image() -> str:
    """Return the name of the server's image."""
    sources = b"".join(path.read_bytes() for path in sorted(SOURCE.iterdir()))
    tag = hashlib.sha256(sources).hexdigest()[:12]
    name = f"localhost/modeldrop-test-server:{tag}"
    running = engine()
    if running.say("image", "inspect", name).returncode != 0:
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            file.write(_tar(_program(tag)))
            file.flush()
            done = running.say("import", "--change", 'ENTRYPOINT ["/server"]', file.name, name)
            assert done.returncode == 0, done.stderr
    return name


def _program(tag: str) -> bytes:
    kept = KEPT / f"test-server-{tag}"
    if not kept.exists():
        go = shutil.which("go") or "/usr/local/go/bin/go"
        if not Path(go).exists():
            pytest.skip("the test's custom container is written in Go, and no go is here to build it")
        KEPT.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        command = [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(fresh), "."]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
        subprocess.run(command, cwd=SOURCE, env=environment, check=True, capture_output=True)
        fresh.replace(kept)
    return kept.read_bytes()


def _tar(program: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        entry = tarfile.TarInfo("server")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    return held.getvalue()
