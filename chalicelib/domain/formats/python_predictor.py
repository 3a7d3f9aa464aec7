"""A model that is Python: `score.py` as OCI has it, or a `predictor.py` with a class as Vertex AI has it.

Its source is parsed and never imported. It is code by definition: what is judged is whether serving can call it.
"""

import ast
from collections.abc import Collection
from typing import Any

from chalicelib.domain.findings import ArtifactFormat, Finding, Severity
from chalicelib.domain.formats.python_source import BadSource, Function, Module, bound, needs, read_module, takes
from chalicelib.domain.formats.runtime_yaml import FILE as RUNTIME
from chalicelib.domain.formats.runtime_yaml import Runtime, read_runtime
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.loose import looks_like_a_pickle
from chalicelib.domain.objects import Upload
from chalicelib.domain.yaml_limits import DEFAULTS

SCORE, PREDICTOR = "score.py", "predictor.py"
_PROTOCOL = 2  # bytes at a pickle's start
_SNIFFED = 64  # files whose first bytes are looked at
_PLAIN = (".py", ".yaml", ".yml", ".json", ".jsonl", ".txt", ".md", ".csv")
_SCORE_FIX = "define load_model() and predict(data, model=load_model()) at module level"
_PREDICTOR_FIX = "define one class with load(self, artifacts_uri) and predict(self, instances)"


def recognises(paths: Collection[str]) -> bool:
    return SCORE in paths or PREDICTOR in paths


def judge(upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Judge the source, the environment that runtime.yaml asks for, and what lies beside it."""
    files = upload.paths
    if SCORE in files and PREDICTOR in files:
        fix = "drop each under a VERSION_ID of its own, or rename the one that is only a module of the other"
        return Judgement((Finding("two_artifacts", "", f"it holds {SCORE} and {PREDICTOR}", fix),))
    path = SCORE if SCORE in files else PREDICTOR
    found, details = _source(path, upload, reader, limits)
    runtime = _runtime(upload, reader, limits) if path == SCORE else Runtime()
    if runtime.environment:
        details["environment"] = dict(runtime.environment)
    return Judgement((*found, *runtime.findings, *_pickles(upload, reader)), details=details)


def _source(path: str, upload: Upload, reader: Reader, limits: Limits) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    size = upload.paths[path].size
    if size > limits.source:
        return (_bad(path, path, f"it has {size} bytes, more than {limits.source}"),), {}
    try:
        module = read_module(reader.read(path, 0, size))
    except BadSource as e:
        return (_bad(path, path, str(e)),), {}
    if path == SCORE:
        return score_findings(module), {"handler": SCORE}
    return predictor_findings(module), {"handler": PREDICTOR, "class": ", ".join(_predictors(module))[:100]}


def score_findings(module: Module) -> tuple[Finding, ...]:
    """Return why OCI's calls, load_model() and predict(data), would fail; what is imported is taken at its name."""
    names = module.binds
    absent = [name for name in ("load_model", "predict") if not names & {name, "*"}]
    found = [_bad(SCORE, SCORE, f"it has no {name} at module level") for name in absent]
    load, predict = module.function("load_model"), module.function("predict")
    if load is not None:
        found += _call_findings(load, allowed=())
    if predict is not None:
        found += _call_findings(predict, allowed=("data",))
        if takes(predict)[:1] != ["data"]:
            found.append(_bad(SCORE, f"{SCORE}: line {predict.lineno}", "predict's first argument must be data"))
    return tuple(found)


def _call_findings(function: Function, allowed: Collection[str]) -> list[Finding]:
    where = f"{SCORE}: line {function.lineno}"
    found = []
    if isinstance(function, ast.AsyncFunctionDef):
        found.append(_bad(SCORE, where, f"{function.name} must be a plain function, not async"))
    if more := [name for name in needs(function) if name not in allowed]:
        message = f"{function.name} is called with {' and '.join(allowed) or 'nothing'}; without a default are also: "
        found.append(_bad(SCORE, where, message + ", ".join(more)[:100]))
    return found


def predictor_findings(module: Module) -> tuple[Finding, ...]:
    """Return why serving would not find the class to call."""
    names = _predictors(module)
    if len(names) == 1:
        return ()
    defined = ", ".join(c.name for c in module.classes)[:100] or "none"
    message = f"exactly one class must define load and predict; {len(names)} do; its classes: {defined}"
    return (_bad(PREDICTOR, PREDICTOR, message),)


def _predictors(module: Module) -> list[str]:
    return [c.name for c in module.classes if {"load", "predict"} <= {n for s in c.body for n in bound(s)}]


def _runtime(upload: Upload, reader: Reader, limits: Limits) -> Runtime:
    item = upload.paths.get(RUNTIME)
    if item is None:
        return read_runtime(None, python=limits.python)
    return read_runtime(reader.read(RUNTIME, 0, min(item.size, DEFAULTS.characters + 1)), python=limits.python)


def _pickles(upload: Upload, reader: Reader) -> list[Finding]:
    """Warn of pickles among the data: they are the code's to load, so nothing judges what they say."""
    others = [p for p in sorted(upload.paths) if not p.endswith(_PLAIN) and not p.startswith("_")]
    heads = {p: reader.read(p, 0, _PROTOCOL) for p in others[:_SNIFFED]}
    return [_pickle(path) for path in others if looks_like_a_pickle(path, heads.get(path, b""))]


def _pickle(path: str) -> Finding:
    message = "it is, or holds, a pickle: loading it runs what it says, and nothing here judges that"
    fix = "save weights as .safetensors or .npz, or the model as ONNX"
    return Finding("pickle_beside", path, message, fix, Severity.WARNING)


def _bad(path: str, where: str, message: str) -> Finding:
    if path == SCORE:
        return Finding("bad_score", where, message, _SCORE_FIX)
    return Finding("bad_predictor", where, message, _PREDICTOR_FIX)


FORMAT = Format(
    ArtifactFormat.PYTHON_PREDICTOR,
    f"{SCORE} or {PREDICTOR}",
    recognises,
    judge,
    artifacts=(SCORE, PREDICTOR),
    also=(RUNTIME,),
)
