"""TensorFlow SavedModels: the serving_default signature, called with arrays."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from modelserver.errors import LoadError
from modelserver.formats import Headers, Sample
from modelserver.rows import Array, Prediction, Rows, TensorRows, concatenated, cut
from modelserver.schema import Schema, TensorSpec
from modelserver.settings import Settings
from modelserver.tensors import WIDENED, numpy_dtype, rows_from_columns, rows_from_instances

SIGNATURE = "serving_default"


def claims(folder: Path) -> bool:
    return (folder / "saved_model.pb").is_file()


def load(folder: Path, settings: Settings, scratch: Path) -> "SavedModel":
    """Load with TensorFlow; raise LoadError where there is no serving_default signature."""
    del scratch  # TensorFlow reads the model where it lies
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras imports matplotlib where it finds it: a second, and a font cache, at every start. Nothing is drawn here.
    sys.modules.setdefault("matplotlib", cast("ModuleType", None))
    import tensorflow as tf  # noqa: PLC0415 - seconds and hundreds of megabytes, for this format only

    device = _configure(tf, settings)
    root = _root(tf, str(folder))
    if SIGNATURE not in root.signatures:
        found = ", ".join(root.signatures) or "none"
        raise LoadError(f"no signature {SIGNATURE!r} (found: {found}); re-export with model.export()")
    return SavedModel(tf, root, device)


def _root(tf: Any, folder: str) -> Any:
    """Load the only graph, or of several the one that validation judged: tagged exactly `serve`, else with it."""
    try:
        return tf.saved_model.load(folder)
    except ValueError:  # several must be told apart, and to read all of them first would take as long again
        tags = _serving_tags([set(g.meta_info_def.tags) for g in _parsed(tf, folder).meta_graphs])
        if tags is None:
            raise
        return tf.saved_model.load(folder, tags=sorted(tags))


def _parsed(tf: Any, folder: str) -> Any:
    return tf.__internal__.saved_model.parse_saved_model(folder)


def _serving_tags(graphs: list[set[str]]) -> set[str] | None:
    """Choose among the tags of several graphs; None where there is nothing to choose."""
    found = [g for g in graphs if g == {"serve"}] or [g for g in graphs if "serve" in g]
    return found[0] if len(graphs) > 1 and len(found) == 1 else None


def _configure(tf: Any, settings: Settings) -> str:
    """Set threads and device before the first operation; TensorFlow refuses it later."""
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    gpus = [] if settings.device == "cpu" else tf.config.list_physical_devices("GPU")
    if settings.device == "cuda" and not gpus:
        raise LoadError("MODELDROP_DEVICE is cuda, but TensorFlow sees no GPU")
    if settings.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return "cuda:0" if gpus else "cpu"


class SavedModel:
    format = "saved_model"
    max_batch: int | None = None
    takes_native_rows = False
    takes_documents = False
    only_computes = True

    def __init__(self, tf: Any, root: Any, device: str) -> None:
        self._tf = tf
        # The function holds its variables weakly: without the root they are gone.
        self._root = root
        self._call: Callable[..., Mapping[str, Any]] = root.signatures[SIGNATURE]
        self.schema: Schema = schema_of(root.signatures[SIGNATURE])
        self.device = device
        self._types = {spec.name: tf.as_dtype(spec.dtype) for spec in self.schema.inputs}

    def rows_of_instances(self, body: bytes, headers: Headers) -> Rows:
        del headers
        return rows_from_instances(body, self.schema)

    def rows_of_columns(self, body: bytes) -> Rows:
        return rows_from_columns(body, self.schema)

    def rows_of_request(self, body: bytes, headers: Headers) -> Rows:
        return self.rows_of_instances(body, headers)

    def predict(self, batch: Sequence[Rows], /) -> Sequence[Prediction]:
        tensors = [rows for rows in batch if isinstance(rows, TensorRows)]
        outputs = self._call(**{name: self._tensor(name, a) for name, a in concatenated(tensors).items()})
        return cut({name: _array(value) for name, value in outputs.items()}, [r.count for r in tensors])

    def _tensor(self, name: str, array: Array) -> Any:
        value = self._tf.convert_to_tensor(array)
        return self._tf.cast(value, self._types[name]) if self._types[name].name in WIDENED else value

    def sample(self) -> Sample | None:
        """One row of zeros, empty strings for text; every free axis has length 1."""
        if any(spec.shape is None for spec in self.schema.inputs):
            return None
        inputs = {spec.name: _zeros(spec) for spec in self.schema.inputs}
        return Sample(TensorRows(inputs, 1, self.schema.batchable), f"one row of zeros from {SIGNATURE}")


def _zeros(spec: TensorSpec) -> Array:
    shape = tuple(1 if n is None else n for n in spec.shape or ())
    return np.full(shape, b"", dtype=object) if spec.dtype == "string" else np.zeros(shape, numpy_dtype(spec.dtype))


def schema_of(signature: Any) -> Schema:
    _, inputs = signature.structured_input_signature
    return Schema(
        tuple(_spec(name, spec) for name, spec in sorted(inputs.items())),
        tuple(_spec(name, spec) for name, spec in sorted(signature.structured_outputs.items())),
    )


def _spec(name: str, spec: Any) -> TensorSpec:
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorSpec(name, spec.dtype.name, shape)


def _array(value: Any) -> Array:
    array: Array = value.numpy() if hasattr(value, "numpy") else np.asarray(value)
    return array.astype(np.float32) if array.dtype.name in WIDENED else array
