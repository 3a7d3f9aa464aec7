"""The texts that an archive's manifest names: the handler, the configuration and the requirements."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chalicelib.domain.findings import Finding, Severity
from chalicelib.domain.formats.handler import FIX, OWN, UNSERVED, handler_finding, parse_handler
from chalicelib.domain.formats.mar_manifest import MANIFEST
from chalicelib.domain.strict_yaml import parse
from chalicelib.domain.yaml_limits import BadYaml
from chalicelib.domain.zipdir import Entry

_OWN_HANDLER = (
    "write a FILE.py with a class that has initialize(self, context) and handle(self, data, context), "
    "and build it again with --handler FILE.py"
)
_SHOWN = 100
_FINDINGS = 20  # of one file
# PEP 508 by its shape: a name, extras, versions or an address, a marker. Compiled at the first line that is read: these
# two take longer than all other patterns of a cold start together.
_REQUIREMENT = (
    r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?\s*(?:\[[\w\s,.-]*\])?\s*"
    r"(?:@\s*\S+|\(?\s*(?:(?:===|[=~<>!]=|[<>])\s*[\w.*+!-]+\s*,?\s*)*\)?)\s*(?:;.+)?\Z"
)
_LOCAL = r"(?:[\w./\\-]+\.(?:whl|zip|tar\.gz)|(?:git\+|https?:|file:)\S+)(?:\[[\w,]*\])?\s*(?:;.+)?\Z"
_OPTION = re.compile(r"--?[A-Za-z]")
_HASH = re.compile(r"\s--hash=\S+")


def handler_findings(
    model: Mapping[str, Any], files: Mapping[str, Entry], take: Callable[[Entry], bytes]
) -> tuple[Finding, ...]:
    """Return why TorchServe would find no handler, nothing where it would."""
    where, name = f"{MANIFEST}: model.handler", model.get("handler")
    if not isinstance(name, str) or not name:
        return (Finding("no_handler", where, "the manifest names no handler", FIX),)
    parsed = parse_handler(name)
    if parsed is not None and parsed[0] in files:
        found = handler_finding(parsed[0], take(files[parsed[0]]), parsed[1])
        return () if found is None else (found,)
    return () if name in OWN else (_no_handler(where, name),)


def _no_handler(where: str, name: str) -> Finding:
    if name in UNSERVED:
        message = f"TorchServe's own {name!r} is not served: {UNSERVED[name]}"
        return Finding("no_handler", where, message, _OWN_HANDLER)
    message = f"{name[:_SHOWN]!r} is neither a file of the archive nor one of {', '.join(OWN)}"
    return Finding("no_handler", where, message, FIX)


def config_findings(name: str, text: bytes) -> tuple[Finding, ...]:
    fix = "correct the YAML, and build the archive again with --config-file"
    try:
        config = parse(text)
    except BadYaml as e:
        return (Finding("bad_model_config", name, str(e), fix),)
    if config is not None and not isinstance(config, dict):
        return (Finding("bad_model_config", name, "it must be a mapping of settings", fix),)
    return ()


def requirement_findings(name: str, text: bytes) -> tuple[Finding, ...]:
    """Return the lines that pip wouldn't read, and as warnings those that point elsewhere."""
    try:
        lines = text.decode("utf-8-sig").replace("\\\n", " ").splitlines()
    except UnicodeDecodeError:
        return (Finding("bad_requirements", name, "it is not UTF-8 text", "save it as UTF-8, and build again"),)
    return tuple(_lines(name, lines))[:_FINDINGS]


def _lines(name: str, lines: list[str]) -> Iterator[Finding]:
    for number, line in enumerate(lines, 1):
        said = re.sub(r"(^|\s)#.*", "", line).strip()
        where = f"{name}: line {number}"
        if _OPTION.match(said):
            message = f"{said[:_SHOWN]!r} is an option, which may point to other files or hosts; it isn't followed"
            fix = "list the packages themselves, and let the operator choose the index"
            yield Finding("bad_requirements", where, message, fix, Severity.WARNING)
        elif said and not _is_requirement(_HASH.sub("", said).strip()):
            fix = "write NAME, NAME==VERSION or NAME @ ADDRESS"
            yield Finding("bad_requirements", where, f"{said[:_SHOWN]!r} names no package", fix)


def _is_requirement(said: str) -> bool:
    return len(said) <= 4096 and bool(re.match(_REQUIREMENT, said) or re.match(_LOCAL, said))  # noqa: PLR2004
