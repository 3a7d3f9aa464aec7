"""Modules behind base_handler (TorchScript, or a class with its weights): arrays in, tensors out, no lists between."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from modelserver.archive import Archive
from modelserver.codec import fast_instances, instances_of, loads
from modelserver.errors import LoadError, bad_request
from modelserver.formats import Headers, Sample, Signature
from modelserver.handlers import import_file, the_class
from modelserver.log import emit
from modelserver.rows import Array, Prediction, Rows, TensorRows, concatenated, cut
from modelserver.schema import Schema, TensorSpec
from modelserver.settings import Settings
from modelserver.tensors import rows_from_tensors, tensor
from modelserver.torch_compute import Compute, check_memory

INPUT = "input"
# Token ids must stay whole numbers; everything else is computed in float32.
INTEGER_OPS = ("aten::embedding", "aten::embedding_bag", "aten::one_hot")


def claims(archive: Archive) -> bool:
    path = archive.path_of("serializedFile")
    return archive.model.get("handler") == "base_handler" and path is not None


def brings_code(archive: Archive) -> bool:
    """Say whether loading runs Python of the archive's own."""
    return archive.path_of("modelFile") is not None


def load(archive: Archive, device: str, settings: Settings) -> "TorchScript":
    """Load the serialized module; raise LoadError where it is no TorchScript."""
    path = archive.path_of("serializedFile")
    if path is None:
        raise LoadError("base_handler needs a serialized TorchScript file")
    torch: Any = importlib.import_module("torch")  # late: seconds and gigabytes, for this format only
    check_memory(torch, path.stat().st_size, device)
    model_file = archive.path_of("modelFile")
    try:
        module = _eager(torch, model_file, path, device) if model_file else _scripted(torch, path, device)
    except torch.cuda.OutOfMemoryError as error:
        raise LoadError(f"{path.name} does not fit on {device}: {error}") from error
    return TorchScript(torch, _compiled(torch, module.eval(), settings), device, settings.autocast)


def _compiled(torch: Any, module: Any, settings: Settings) -> Any:
    """Compile where that is wanted and the module is Python; TorchScript is compiled already."""
    if settings.compile == "off":
        return module
    if isinstance(module, torch.jit.ScriptModule):
        emit("compile_without_effect", reason="TorchScript has a compiler of its own")
        return module
    return torch.compile(module, dynamic=True)


def _scripted(torch: Any, path: Path, device: str) -> Any:
    try:
        return torch.jit.load(str(path), map_location=device)
    except torch.cuda.OutOfMemoryError:
        raise  # it is a RuntimeError too
    except RuntimeError as error:
        hint = "save the model with torch.jit.save, or archive its class with --model-file"
        raise LoadError(f"{path.name} is no TorchScript module: {error}; {hint}") from error


def _eager(torch: Any, model_file: Path, path: Path, device: str) -> Any:
    """The one class of the model file, with its weights: tensors only, never a pickled program."""
    module = the_class(import_file(model_file))()
    module.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    return module.to(device)


class TorchScript:
    format = "torch_archive"
    max_batch: int | None = None
    max_delay_s: float | None = None
    takes_native_rows = True
    takes_documents = False
    takes_bytes = False
    only_computes = True
    signatures: Mapping[str, Signature] = MappingProxyType({})

    def __init__(self, torch: Any, module: Any, device: str, autocast: str = "off") -> None:
        self._compute = Compute(torch, module, device, autocast)
        self.device = device
        self._spec = TensorSpec(INPUT, input_dtype(module), None)
        self.schema: Schema | None = Schema((self._spec,), ())

    def rows_of_instances(self, body: bytes, headers: Headers) -> Rows:
        del headers
        fast = fast_instances(body, "d" if self._spec.dtype == "float32" else "i")
        if fast is not None:
            return TensorRows({INPUT: fast.astype(self._spec.dtype)}, len(fast))
        values = [_value_of(x) for x in instances_of(body)]
        return TensorRows({INPUT: tensor(values, self._spec, "instances")}, len(values))

    def rows_of_columns(self, body: bytes) -> Rows:
        array = np.atleast_1d(tensor(loads(body)["inputs"], self._spec, "inputs"))
        if not array.size:
            raise bad_request("wrong_shape", "expected a list of at least one row", "inputs")
        return TensorRows({INPUT: array}, len(array))

    def rows_of_request(self, body: bytes, headers: Headers) -> Rows:
        """One row a request, as JSON."""
        del headers
        return TensorRows({INPUT: tensor([_value_of(loads(body))], self._spec, "body")}, 1)

    def rows_of_tensors(self, tensors: Mapping[str, Array], headers: Headers) -> Rows:
        """Its one input has whatever name a client gives it."""
        del headers
        if len(tensors) > 1:
            raise bad_request("unknown_input", f"the model takes one input, not {', '.join(tensors)}", "inputs")
        return rows_from_tensors({INPUT: next(iter(tensors.values()))}, Schema((self._spec,), ()))

    def predict(self, batch: Sequence[Rows], /) -> Sequence[Prediction]:
        rows = [r for r in batch if isinstance(r, TensorRows)]
        return cut(self._compute(concatenated(rows)[INPUT]), [r.count for r in rows])

    def sample(self) -> Sample | None:
        return None


def input_dtype(module: Any) -> str:
    """int64 where the first argument is looked up in an embedding, float32 otherwise."""
    graph = getattr(module, "inlined_graph", None)
    inputs = list(graph.inputs()) if graph is not None else []
    users = [use.user.kind() for use in inputs[1].uses()] if len(inputs) > 1 else []
    return "int64" if any(kind in INTEGER_OPS for kind in users) else "float32"


def _value_of(instance: Any) -> Any:
    """Look inside `{"data": x}` and `{"body": x}`, which is how rows are written for handlers."""
    if isinstance(instance, dict):
        return next((instance[key] for key in ("data", "body") if key in instance), instance)
    return instance
