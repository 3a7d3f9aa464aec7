"""A model's requirements.txt: installed into a folder of its own where the operator allows it, else explained.

Nothing comes from a network unless that, too, is allowed. What the image has already isn't installed again.
"""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelserver.errors import LoadError
from modelserver.log import emit
from modelserver.settings import Settings

NEVER, WHEELS, INDEX = "never", "wheels", "index"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")
# Loaded before any model: another version of these can't be had in the same process.
LOADED = ("httptools", "numpy", "orjson", "prometheus-client", "pysimdjson", "pyyaml", "uvloop")
OUTPUT_LIMIT = 2000


@contextmanager
def available(path: Path | None, settings: Settings, scratch: Path) -> Iterator[None]:
    """Install what the file names, if that is allowed; if not, an import that fails within says how to allow it."""
    if path is None or not path.is_file():
        yield
    elif settings.install_requirements != NEVER:
        install(path, settings, scratch / "requirements")
        yield
    else:
        try:
            yield
        except ModuleNotFoundError as error:
            message = f"{error.msg}; {path.name} names what the model needs, and is not installed: {how_to(error.name)}"
            raise ModuleNotFoundError(message, name=error.name).with_traceback(error.__traceback__) from None


def how_to(name: str | None) -> str:
    return (
        f"use an image that has {name or 'it'}, or start with MODELDROP_INSTALL_REQUIREMENTS=wheels "
        "and MODELDROP_WHEELS naming a folder of wheels"
    )


def install(path: Path, settings: Settings, target: Path) -> None:
    """Put what is missing into the target and on sys.path; raise LoadError with pip's own words."""
    source = _source(settings)
    missing = _missing(_pip(path, ["--dry-run", "--report", "-", *source, "--requirement", str(path)]))
    replaced = sorted(name for name in (m.partition("==")[0] for m in missing) if normal(name) in LOADED)
    if replaced:
        message = f"{path.name} wants another {', '.join(replaced)} than this image runs on; loosen its version there"
        raise LoadError(message)
    if missing:
        _pip(path, ["--no-deps", "--target", str(target), *source, *missing])
        sys.path.insert(0, str(target))
        importlib.invalidate_caches()
    emit("requirements_installed", packages=missing, source=settings.install_requirements)


def _source(settings: Settings) -> list[str]:
    if settings.install_requirements == INDEX:
        return [] if settings.wheels is None else ["--find-links", str(settings.wheels)]
    if settings.wheels is None or not settings.wheels.is_dir():
        raise LoadError(f"MODELDROP_WHEELS must name a folder of wheels to install from; it is {settings.wheels}")
    return ["--isolated", "--no-index", "--only-binary", ":all:", "--find-links", str(settings.wheels)]


def _missing(report: bytes) -> list[str]:
    """Read of pip's report what it would install: the image's own packages count as there."""
    document: dict[str, Any] = json.loads(report)
    return [f"{item['metadata']['name']}=={item['metadata']['version']}" for item in document["install"]]


def _pip(path: Path, arguments: Sequence[str]) -> bytes:
    done = subprocess.run([*PIP, *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[-OUTPUT_LIMIT:]
        raise LoadError(f"{path.name} could not be installed: {said}")
    return done.stdout


def normal(name: str) -> str:
    """Compare names as package indexes do."""
    return re.sub(r"[-_.]+", "-", name).lower()
