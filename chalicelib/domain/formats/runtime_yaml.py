"""`runtime.yaml` beside a score.py: the environment that OCI would make, read as strictly as OCI means it.

No environment is made of it here: a replica has the packages and the Python of the serving image, and that is said.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.findings import Finding, Severity
from chalicelib.domain.strict_yaml import parse
from chalicelib.domain.yaml_limits import BadYaml

FILE = "runtime.yaml"
_TYPES = ("data_science", "published")
_VERSION = re.compile(r"3\.(\d{1,2})(?:\.\d{1,3})?", re.ASCII)
_OLDEST, _NEWEST = 6, 13
_ENVIRONMENT = "MODEL_DEPLOYMENT.INFERENCE_CONDA_ENV"
_SHOWN = 100
_FIX = (
    "write MODEL_DEPLOYMENT: {INFERENCE_CONDA_ENV: "
    "{INFERENCE_ENV_TYPE: published, INFERENCE_PYTHON_VERSION: '3.12'}} with the version in quotes"
)


@dataclass(frozen=True)
class Runtime:
    """What a runtime.yaml says of the environment, and what is wrong with it."""

    findings: tuple[Finding, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def read_runtime(text: bytes | None, *, python: str) -> Runtime:
    """Judge a runtime.yaml, None where there is none; `python` is the serving image's own version."""
    if text is None:
        return Runtime((_warning("no_environment", FILE, f"there is none; it runs on the image's Python {python}"),))
    try:
        document = parse(text)
    except BadYaml as e:
        return Runtime((_error(FILE, f"it is no safe YAML document: {e}"),))
    if not isinstance(document, dict):
        return Runtime((_error(FILE, f"it must be a mapping, not {_shown(document)}"),))
    if document.get("MODEL_DEPLOYMENT") is None:
        message = f"it has no MODEL_DEPLOYMENT; it runs on the image's Python {python}"
        return Runtime((_warning("no_environment", FILE, message),))
    return _environment(document["MODEL_DEPLOYMENT"], python)


def _environment(deployment: Any, python: str) -> Runtime:
    if not isinstance(deployment, dict):
        return Runtime((_error(f"{FILE}: MODEL_DEPLOYMENT", f"it must be a mapping, not {_shown(deployment)}"),))
    given = deployment.get("INFERENCE_CONDA_ENV")
    if not isinstance(given, dict):
        return Runtime((_error(f"{FILE}: {_ENVIRONMENT}", f"it must be a mapping, not {_shown(given)}"),))
    kind, version = given.get("INFERENCE_ENV_TYPE"), given.get("INFERENCE_PYTHON_VERSION")
    said = {str(name)[:_SHOWN]: str(value)[:_SHOWN] for name, value in given.items() if value is not None}
    return Runtime((*_type_findings(kind), *_version_findings(version, python)), said)


def _type_findings(kind: Any) -> list[Finding]:
    if kind in (*_TYPES, None, ""):
        return []
    where = f"{FILE}: {_ENVIRONMENT}.INFERENCE_ENV_TYPE"
    return [_error(where, f"it must be {' or '.join(_TYPES)}, not {_shown(kind)}")]


def _version_findings(version: Any, python: str) -> list[Finding]:
    where = f"{FILE}: {_ENVIRONMENT}.INFERENCE_PYTHON_VERSION"
    if version in (None, ""):
        return [_warning("no_environment", where, f"it is not said; it runs on the image's Python {python}")]
    text = str(version)
    found = _VERSION.fullmatch(text) if isinstance(version, str | float) else None
    if found and _OLDEST <= int(found[1]) <= _NEWEST:
        minor = f"3.{int(found[1])}"
        message = f"it says {text}, and the serving image has Python {python}: its code must run there"
        return [] if minor == python else [_warning("other_python", where, message)]
    why = "; unquoted, YAML reads 3.10 as the number 3.1: write '3.10'" if version == 3.1 else ""  # noqa: PLR2004
    return [_error(where, f"it must be 3.{_OLDEST} to 3.{_NEWEST}, not {_shown(version)}{why}")]


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN]


def _error(where: str, message: str) -> Finding:
    return Finding("bad_runtime_yaml", where, message, _FIX)


def _warning(code: str, where: str, message: str) -> Finding:
    return Finding(code, where, message, _FIX, Severity.WARNING)
