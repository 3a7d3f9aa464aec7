"""The peers' own environment: their pinned libraries first, then ours for Torch and TensorFlow, never downloaded twice.

MLServer pins FastAPI below 0.116, which the others accept, and its workers do not start on uvloop above 0.21;
TensorFlow takes the older protobuf that MLServer needs.
"""

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent / "peers"
PINS = HERE / "requirements.txt"
FOLDER = ROOT / ".venv" / "peers"
BIN = FOLDER / "bin"


class NoPeers(Exception):
    """The environment could not be made; the message has the installer's last words."""


def install() -> Path:
    """Make the environment once for each set of pins; return its Python."""
    stamp = FOLDER / f".installed-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]}"
    if not stamp.is_file():
        print(f"==> installing the peers into {FOLDER}", flush=True)
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER)])
        python = str(BIN / "python")
        _run([*uv, "pip", "install", "--quiet", "--python", python, "--compile-bytecode", "--no-deps", "-r", str(PINS)])
        _borrow()
        stamp.touch()
    return BIN / "python"


def _borrow() -> None:
    """Let the peers find what they lack in our environment, after all that is theirs."""
    [theirs] = FOLDER.glob("lib/python*/site-packages")
    (theirs / "zz_frameworks.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NoPeers(f"{' '.join(command[2:5])}: {ended.stderr.strip()[-400:]}")
