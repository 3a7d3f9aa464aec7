"""A handler as TorchServe would find it: parsed, never imported."""

import ast
import re
from collections.abc import Mapping, Sequence

from chalicelib.domain.findings import Finding
from chalicelib.domain.formats.python_source import BadSource, Module, at_module_level, read_module

OWN = ("base_handler", "image_classifier", "image_segmenter", "object_detector", "text_classifier")
# TorchServe's other ones, by what keeps them from being served.
UNSERVED: Mapping[str, str] = {
    "dali_image_classifier": "it needs NVIDIA's DALI, which the serving image doesn't have",
    "vllm_handler": "it needs vLLM, which the serving image doesn't have, and streams its answers",
    "trt_llm_handler": "it needs TensorRT-LLM, which the serving image doesn't have, and streams its answers",
    **dict.fromkeys(("dali_handler", "text_handler", "vision_handler"), "it is a base for handlers and not one itself"),
    "densenet_handler": "it is an example, made for one kind of network",
}
FIX = "build it again with --handler FILE.py, or one of TorchServe's own"
# Whatever import_module finds as one module; a dot would make it a package.
_NAME = re.compile(r"(?P<module>[^./:\\\0]+)(?:\.py)?(?::(?P<function>[^./:]+))?\Z")
_HANDLE, _INITIALIZE = "handle", "initialize"


def parse_handler(name: str) -> tuple[str, str] | None:
    """Return file and function of NAME, NAME.py, NAME:fn or NAME.py:fn; None when it is none of these."""
    found = _NAME.match(name)
    return None if found is None else (f"{found['module']}.py", found["function"] or _HANDLE)


def handler_finding(file: str, source: bytes, function: str) -> Finding | None:
    """Return why TorchServe would load no handler from a module; None when it would."""
    try:
        module = read_module(source)
    except BadSource as e:
        return Finding("bad_handler", file, str(e), FIX)
    binding = _binding(function, module.statements)
    if isinstance(binding, ast.ClassDef):
        message = f"{function!r} is a class, which TorchServe would call as a function"
        return Finding("bad_handler", file, message, f"build it again with --handler {file} alone")
    if _is_async(binding):
        return _async_finding(file, function)
    if binding is not None:
        return None
    if len(module.classes) != 1:
        names = ", ".join(c.name for c in module.classes) or "none"
        message = f"it must define {function!r} or exactly one class; its classes: {names}"
        return Finding("bad_handler", file, message, FIX)
    return _class_finding(file, module, module.classes[0])


def _is_async(binding: ast.stmt | None) -> bool:
    """Tell whether a call gives a coroutine; what a decorator makes of the function, nobody can read."""
    return isinstance(binding, ast.AsyncFunctionDef) and not binding.decorator_list


def _async_finding(file: str, function: str) -> Finding:
    message = f"{function!r} is async, and TorchServe doesn't await it; its asyncCommunication isn't served"
    return Finding("bad_handler", file, message, "define it with `def`; what it awaits, it may run with asyncio.run(…)")


def _class_finding(file: str, module: Module, cls: ast.ClassDef) -> Finding | None:
    for name in (_HANDLE, _INITIALIZE):
        if _is_async(_binding(name, tuple(at_module_level(cls.body)))):
            return _async_finding(file, f"{cls.name}.{name}")
    if _inherits(cls):
        return None
    if not _has(cls, _HANDLE):
        return Finding("bad_handler", file, f"its class {cls.name} has no {_HANDLE!r} and inherits none", FIX)
    if not (_has(cls, _INITIALIZE) or _is_set_elsewhere(module, _INITIALIZE)):
        message = f"its class {cls.name} has no {_INITIALIZE!r} and inherits none; TorchServe calls it when it loads"
        fix = f"add `def {_INITIALIZE}(self, context): …` to class {cls.name}, and build it again"
        return Finding("no_initialize", file, message, fix)
    return None


def _binding(name: str, statements: Sequence[ast.stmt]) -> ast.stmt | None:
    return next((s for s in reversed(statements) if name in _bound(s)), None)


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds; `*` of an import may bind any, so it counts as `handle`."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            bound = {(a.asname or a.name).split(".")[0] for a in names}
            return bound | {_HANDLE} if "*" in bound else bound
        case ast.Assign() | ast.AnnAssign(value=ast.expr()):
            return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return set()


def _has(cls: ast.ClassDef, name: str) -> bool:
    return _binding(name, tuple(at_module_level(cls.body))) is not None


def _inherits(cls: ast.ClassDef) -> bool:
    return any(not (isinstance(b, ast.Name) and b.id == "object") for b in cls.bases)


def _is_set_elsewhere(module: Module, name: str) -> bool:
    """Tell whether something is given an attribute of that name, as `self.initialize = …` does it."""
    nodes = (n for s in module.statements for n in ast.walk(s))
    return any(isinstance(n, ast.Attribute) and n.attr == name and isinstance(n.ctx, ast.Store) for n in nodes)
