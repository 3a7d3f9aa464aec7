"""A handler as TorchServe would find it: parsed, never imported."""

import ast
import re

from chalicelib.domain.formats.python_source import BadSource, read_module

OWN = ("image_classifier", "image_segmenter", "object_detector", "text_classifier", "base_handler")
# Whatever import_module finds as one module; a dot would make it a package.
_NAME = re.compile(r"(?P<module>[^./:\\\0]+)(?:\.py)?(?::(?P<function>[^./:]+))?\Z")
_HANDLE = "handle"


def parse_handler(name: str) -> tuple[str, str] | None:
    """Return file and function of NAME, NAME.py, NAME:fn or NAME.py:fn; None when it is none of these."""
    found = _NAME.match(name)
    return None if found is None else (f"{found['module']}.py", found["function"] or _HANDLE)


def why_not(source: bytes, function: str) -> str | None:
    """Return why TorchServe would find no handler in a module; None when it would."""
    try:
        statements = read_module(source).statements
    except BadSource as e:
        return str(e)
    if any(function in _bound(s) for s in statements):
        return None
    classes = [s for s in statements if isinstance(s, ast.ClassDef)]
    if len(classes) != 1:
        names = ", ".join(c.name for c in classes) or "none"
        return f"it must define {function!r} or exactly one class; its classes: {names}"
    return None if _handles(classes[0]) else f"its class {classes[0].name} has no {_HANDLE!r} and inherits none"


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds; `*` of an import may bind any, so it counts as `handle`."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            bound = {(a.asname or a.name).split(".")[0] for a in names}
            return bound | {_HANDLE} if "*" in bound else bound
        case ast.Assign() | ast.AnnAssign(value=ast.expr()):
            return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return set()


def _handles(cls: ast.ClassDef) -> bool:
    if any(_HANDLE in _bound(s) for s in cls.body):
        return True
    return any(not (isinstance(b, ast.Name) and b.id == "object") for b in cls.bases)
