"""The page about validation names every code that the rules can give, and no other."""

import ast
import re
from pathlib import Path

from chalicelib.domain.codes import CODES

ROOT = Path(__file__).parents[2]
DOMAIN = ROOT / "chalicelib" / "domain"
RULES = [
    *DOMAIN.glob("formats/*.py"),
    *(DOMAIN / f"{name}.py" for name in ("layout", "loose", "impostors", "zipdir", "zipwalk", "manifest", "golden")),
]
MAKERS = {"Finding", "ZipFault"}


def made(source):
    """Return the codes that a module gives: what it calls findings and faults with, or raises as `code`."""
    for call in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)):
        yield from (k.value.value for k in call.keywords if k.arg == "code" and isinstance(k.value, ast.Constant))
        texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if isinstance(call.func, ast.Name) and call.func.id in MAKERS | {"_bad", "_warning"}:
            yield from (t for t in texts[:2] if re.fullmatch(r"[a-z]+(_[a-z]+)+", t))


def test_every_code_is_documented_and_every_documented_code_exists():
    given = {code for path in RULES for code in made(path.read_text())} | {"illegal_name"}
    page = (ROOT / "docs" / "validation.md").read_text().split("## Codes", 1)[1]
    assert given == CODES == set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
