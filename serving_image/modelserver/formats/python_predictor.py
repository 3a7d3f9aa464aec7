"""Models that are Python: score.py as OCI Data Science calls it, or a predictor class as Vertex AI calls it."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Protocol

from modelserver.codec import instances_of, loads
from modelserver.errors import LoadError, RequestError
from modelserver.formats import Headers, Sample, Signature, set_openmp
from modelserver.handler_rows import form_fields, native_row, tensor_rows
from modelserver.handlers import import_file
from modelserver.media import PARAMETERS
from modelserver.requirements import available
from modelserver.rows import Array, DocumentRows, Prediction, Rows
from modelserver.schema import Schema
from modelserver.settings import Settings

SCORE, PREDICTOR, REQUIREMENTS = "score.py", "predictor.py", "requirements.txt"


class Answers(Protocol):
    """Calls the uploader's code with what it expects, and gives back one value an instance, or its whole answer."""

    speaks_oci: bool

    def instances(self, document: Mapping[str, Any]) -> Sequence[Any]: ...
    def document(self, document: Any) -> Any: ...


def claims(folder: Path) -> bool:
    return (folder / SCORE).is_file() or (folder / PREDICTOR).is_file()


def load(folder: Path, settings: Settings, scratch: Path) -> "PythonModel":
    """Import the module and have it load its model; raise LoadError where there is nothing to call."""
    set_openmp(settings.threads)
    # A compiled module in the model's folder would be a file that nobody registered.
    sys.dont_write_bytecode = True
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    with available(folder / REQUIREMENTS, settings, scratch):
        answers = _answers(folder)
    return PythonModel(answers, "cpu" if settings.device == "cpu" else "chosen by the model")


def _answers(folder: Path) -> "Answers":
    path = folder / SCORE
    return _score(import_file(path)) if path.is_file() else _predictor(import_file(folder / PREDICTOR), folder)


class PythonModel:
    format = "python_predictor"
    schema: Schema | None = None
    max_batch: int | None = None
    max_delay_s: float | None = None
    only_computes = False
    signatures: Mapping[str, Signature] = MappingProxyType({})

    def __init__(self, answers: Answers, device: str) -> None:
        self.device = device
        self.takes_native_rows = self.takes_documents = self.takes_bytes = answers.speaks_oci
        self._answers = answers

    def rows_of_instances(self, body: bytes, headers: Headers) -> Rows:
        del headers
        return DocumentRows(loads(body), len(instances_of(body)), has_instances=True)

    def rows_of_columns(self, body: bytes) -> Rows:
        del body
        raise RequestError(400, "no_columns", 'this model takes "instances", not "inputs"', where="inputs")

    def rows_of_request(self, body: bytes, headers: Headers) -> Rows:
        """Parse by the content type: JSON and text are parsed, a form is an object, all else is bytes."""
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return DocumentRows(form_fields(body), 1, has_instances=False)
        row = native_row(body, headers, arrays=False)
        document = row["body"] if list(row) == ["body"] else row
        return DocumentRows(document, 1, has_instances=False)

    def rows_of_tensors(self, tensors: Mapping[str, Array], headers: Headers) -> Rows:
        """Instances, as the body of an instances contract would have them: bare of one input, objects of several."""
        instances = tensor_rows(tensors, bare=True, arrays=False)
        parameters = {"parameters": loads(headers[PARAMETERS].encode())} if PARAMETERS in headers else {}
        return DocumentRows({"instances": instances, **parameters}, len(instances), has_instances=True)

    def predict(self, batch: Sequence[Rows], /) -> Sequence[Prediction]:
        return [self._called(rows) for rows in batch if isinstance(rows, DocumentRows)]

    def _called(self, rows: DocumentRows) -> Prediction:
        if rows.has_instances:
            return Prediction(self._answers.instances(rows.document))
        return Prediction([self._answers.document(rows.document)])

    def sample(self) -> Sample | None:
        """Nobody knows what it takes; warmup.jsonl says it."""
        return None


class Score:
    """OCI's functions: `predict(data)` gets the parsed body; by an instances contract the list of instances."""

    speaks_oci = True

    def __init__(self, predict: Callable[..., Any], given: Mapping[str, Any]) -> None:
        self._predict = predict
        self._given = given
        # Vertex's `parameters` are for who asks for them by this name; OCI has none.
        self._asks_parameters = "parameters" in _parameters(predict)

    def document(self, document: Any) -> Any:
        return self._predict(document, **self._given)

    def instances(self, document: Mapping[str, Any]) -> Sequence[Any]:
        rows = document["instances"]
        said = {"parameters": document["parameters"]} if self._asks_parameters and "parameters" in document else {}
        values = _listed(self._predict(rows, **self._given, **said), ("prediction", "predictions"))
        if len(values) != len(rows):
            message = f"predict returned {len(values)} items for {len(rows)} instances; it must return one each"
            raise RequestError(500, "bad_predictor_answer", message)
        return values


class Predictor:
    """Vertex's class: postprocess(predict(preprocess(body))), each as its base class has it where it is missing."""

    speaks_oci = False

    def __init__(self, predictor: Any) -> None:
        self._predict = predictor.predict
        self._before: Callable[[Any], Any] = getattr(predictor, "preprocess", _as_it_is)
        self._after: Callable[[Any], Any] = getattr(predictor, "postprocess", _as_it_is)

    def document(self, document: Any) -> Any:
        return self._after(self._predict(self._before(document)))

    def instances(self, document: Mapping[str, Any]) -> Sequence[Any]:
        return _listed(self.document(document), ("predictions",))


def _as_it_is(value: Any) -> Any:
    return value


def _score(module: ModuleType) -> Score:
    """Load once: a `model` that predict has as a default was loaded by the import, else load_model() is called."""
    for name in ("load_model", "predict"):
        if not callable(getattr(module, name, None)):
            raise LoadError(f"{SCORE} has no function {name} at module level")
    model = _parameters(module.predict).get("model")
    if model is not None and model.default is not None and model.default is not inspect.Parameter.empty:
        return Score(module.predict, {})
    loaded = module.load_model()
    return Score(module.predict, {} if model is None else {"model": loaded})


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return a function's parameters; what is compiled may not say them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _predictor(module: ModuleType, folder: Path) -> Predictor:
    own: set[Any] = {c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__}
    found = sorted((c for c in own if {"load", "predict"} <= set(vars(c))), key=lambda c: c.__name__)
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise LoadError(f"{PREDICTOR} must have exactly one class with load and predict; found: {names}")
    predictor = found[0]()
    predictor.load(str(folder))
    return Predictor(predictor)


def _listed(answer: Any, names: Sequence[str]) -> Sequence[Any]:
    """Return the list that an answer is, or has under one of the names; raise where it is none."""
    inner: Any = (
        next((answer[name] for name in names if name in answer), None) if isinstance(answer, Mapping) else answer
    )
    values = inner.tolist() if hasattr(inner, "tolist") else inner
    if not isinstance(values, list | tuple):
        kind = type(answer).__name__
        message = f'the model returned {kind}; it must be a list, or a list under "{names[0]}"'
        raise RequestError(500, "bad_predictor_answer", message)
    return values
