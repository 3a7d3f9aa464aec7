"""Where the Python of the Lambda runtime is on this machine: `python tools/runtime_python.py` prints its path.

Its minor version has to be the runtime's, or neither the .pyc nor the compiled wheels of the layers load. It is looked
for on PATH, then with pyenv, then with uv.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

RUNTIME = "3.13"


def find_python(minor: str = RUNTIME) -> Path | None:
    """Return an interpreter of this minor version, or None where the machine has none."""
    return next((path for path in _candidates(minor) if _is(path, minor)), None)


def _candidates(minor: str) -> Iterator[Path]:
    if on_path := shutil.which(f"python{minor}"):
        yield Path(on_path)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from sorted(versions.glob(f"{minor}*/bin/python{minor}"), reverse=True)
    if uv := shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"):
        found = _said([uv, "python", "find", "--no-python-downloads", minor])
        if found:
            yield Path(found)


def _is(path: Path, minor: str) -> bool:
    """Tell whether it starts and is that version: pyenv's shims are on PATH for versions that aren't chosen."""
    return _said([str(path), "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]) == minor


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    found_python = find_python()
    if found_python is None:
        sys.exit(f"No Python {RUNTIME} on PATH, with pyenv or with uv: `uv python install {RUNTIME}` brings one.")
    print(found_python)
