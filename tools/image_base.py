"""What the images are built on: the Dockerfile's own base where a registry has it, else one of Debian's packages."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from tools.image_engine import Engine, have

DEBIAN = "trixie"
MADE = f"localhost/modeldrop-base:{DEBIAN}"
# What no program in an image reads.
LEFT_OUT = (
    "./dev/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
)


class NoBaseError(Exception):
    """No base image can be had; the message says what to do."""


def find_base(engine: Engine, dockerfile: Path) -> str:
    """The name of a base that the engine has; raise NoBaseError where it can neither be pulled nor made."""
    default = f"docker.io/library/{default_base(dockerfile.read_text())}"
    if _is_there(engine, default) or _runs([*engine.other, "pull", "--quiet", default]):
        return default
    if not _is_there(engine, MADE):
        print(
            f"==> No registry gives {default}: making {MADE} of Debian's packages (about 2 minutes, once)", flush=True
        )
        make(engine)
    return MADE


def default_base(dockerfile: str) -> str:
    (name,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    return str(name)


def make(engine: Engine) -> None:
    if os.geteuid() != 0 or not have("debootstrap"):
        raise NoBaseError("a base image is made by root with debootstrap: install it, or name an image with BASE=IMAGE")
    with tempfile.TemporaryDirectory() as folder:
        packages = "--include=python3,python3-venv,ca-certificates"
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, DEBIAN, folder], check=True, stdout=subprocess.DEVNULL
        )
        tar = subprocess.Popen(
            ["tar", "-C", folder, *(f"--exclude={path}" for path in LEFT_OUT), "-c", "."], stdout=subprocess.PIPE
        )
        subprocess.run([*engine.other, "import", "-", MADE], check=True, stdin=tar.stdout, stdout=subprocess.DEVNULL)
        if tar.wait():
            raise NoBaseError(f"tar ended with {tar.returncode} while {MADE} was made")


def _is_there(engine: Engine, image: str) -> bool:
    return _runs([*engine.other, "image", "inspect", image])


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
