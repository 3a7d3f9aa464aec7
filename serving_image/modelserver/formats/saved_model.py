"""TensorFlow SavedModels: every signature, called with arrays."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, cast

import numpy as np

from modelserver.errors import LoadError, bad_request, named
from modelserver.formats import Headers, Sample
from modelserver.formats.saved_model_warmup import FILE as RECORDED
from modelserver.formats.saved_model_warmup import Recorded, recorded
from modelserver.media import JSON_TYPES, media_type
from modelserver.rows import Array, Prediction, Rows, TensorRows, concatenated, cut, whole
from modelserver.schema import Schema, TensorSpec
from modelserver.settings import Settings
from modelserver.tensors import WIDENED, numpy_dtype, rows_from_columns, rows_from_instances, rows_from_tensors

SIGNATURE = "serving_default"


def claims(folder: Path) -> bool:
    return (folder / "saved_model.pb").is_file()


def load(folder: Path, settings: Settings, scratch: Path) -> "SavedModel":
    """Load with TensorFlow; raise LoadError where there is no signature to call."""
    del scratch  # TensorFlow reads the model where it lies
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras imports matplotlib where it finds it: a second, and a font cache, at every start. Nothing is drawn here.
    sys.modules.setdefault("matplotlib", cast("ModuleType", None))
    import tensorflow as tf  # noqa: PLC0415 - seconds and hundreds of megabytes, for this format only

    device = _configure(tf, settings)
    root = _root(tf, str(folder))
    if not _callable(root):
        raise LoadError("no signature has inputs and outputs; re-export with model.export()")
    return SavedModel(tf, root, device)


def _callable(root: Any) -> dict[str, Any]:
    """Signatures by name, serving_default first: TF1's may be there for their effect only."""
    found = {n: s for n, s in root.signatures.items() if s.structured_input_signature[1] and s.structured_outputs}
    return dict(sorted(found.items(), key=lambda item: (item[0] != SIGNATURE, item[0])))


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
    tf.config.threading.set_intra_op_parallelism_threads(settings.call_threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    gpus = [] if settings.device == "cpu" else tf.config.list_physical_devices("GPU")
    if settings.device == "cuda" and not gpus:
        raise LoadError("MODELDROP_DEVICE is cuda, but TensorFlow sees no GPU")
    if settings.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return "cuda:0" if gpus else "cpu"


class SavedSignature:
    """One function of a SavedModel: its name, what it takes, and the rows that requests make for it."""

    def __init__(self, name: str, function: Callable[..., Mapping[str, Any]]) -> None:
        self.name = name
        self.call = function
        self.schema: Schema = schema_of(function)

    @property
    def takes_bytes(self) -> bool:
        """One string a row is what raw bytes can be."""
        inputs = self.schema.inputs
        return (
            len(inputs) == 1 and inputs[0].dtype == "string" and (inputs[0].shape is None or len(inputs[0].shape) == 1)
        )

    def rows_of_instances(self, body: bytes, headers: Headers) -> Rows:
        del headers
        return rows_from_instances(body, self.schema, self.name)

    def rows_of_columns(self, body: bytes) -> Rows:
        return rows_from_columns(body, self.schema, self.name)

    def rows_of_request(self, body: bytes, headers: Headers) -> Rows:
        """Raw bytes are one string; JSON has instances."""
        if media_type(headers) in JSON_TYPES:
            return self.rows_of_instances(body, headers)
        return self.rows_of_tensors({self.schema.inputs[0].name: np.array([body], dtype=object)}, headers)

    def rows_of_tensors(self, tensors: Mapping[str, Array], headers: Headers) -> Rows:
        del headers
        return rows_from_tensors(tensors, self.schema, self.name)


class Undecided:
    """Stands for the signature that is meant where none is named, of several that are not serving_default."""

    takes_bytes = False
    schema: Schema | None = None

    def __init__(self, names: Iterable[str]) -> None:
        self._names = ", ".join(names)

    def _refuse(self, *_: Any) -> NoReturn:
        raise bad_request("signature_needed", f"name one of the signatures {self._names}", "signature_name")

    rows_of_instances = rows_of_columns = rows_of_request = rows_of_tensors = _refuse


class SavedModel:
    format = "saved_model"
    max_batch: int | None = None
    max_delay_s: float | None = None
    takes_native_rows = False
    takes_documents = False
    only_computes = True

    def __init__(self, tf: Any, root: Any, device: str) -> None:
        self._tf = tf
        # The function holds its variables weakly: without the root they are gone.
        self._root = root
        self.signatures = {name: SavedSignature(name, function) for name, function in _callable(root).items()}
        self._default = _default(self.signatures)
        meant = self._default or Undecided(self.signatures)
        self.schema: Schema | None = meant.schema
        self.takes_bytes = meant.takes_bytes
        self.rows_of_instances = meant.rows_of_instances
        self.rows_of_columns = meant.rows_of_columns
        self.rows_of_request = meant.rows_of_request
        self.rows_of_tensors = meant.rows_of_tensors
        self.device = device
        # Only these need more than NumPy's own type.
        self._types = {
            (name, spec.name): tf.as_dtype(spec.dtype)
            for name, signature in self.signatures.items()
            for spec in signature.schema.inputs
            if spec.dtype in WIDENED
        }

    def predict(self, batch: Sequence[Rows], /) -> Sequence[Prediction]:
        """Call the signature that the rows are for: a batch has rows of one only."""
        tensors = [rows for rows in batch if isinstance(rows, TensorRows)]
        name = tensors[0].signature
        given = {key: self._tensor(name, key, array) for key, array in concatenated(tensors).items()}
        outputs = {key: _array(value) for key, value in self.signatures[name].call(**given).items()}
        if len(tensors) == 1 and tensors[0].is_whole:
            return [whole(outputs)]
        return cut(outputs, [r.count for r in tensors])

    def _tensor(self, signature: str, name: str, array: Array) -> Any:
        value = self._tf.convert_to_tensor(array)
        wanted = self._types.get((signature, name))
        return value if wanted is None else self._tf.cast(value, wanted)

    def recorded_requests(self, folder: Path) -> Iterator[str]:
        """Replay what TensorFlow Serving would, and say how many; other kinds than predict are said, not replayed."""
        counts = Counter(self._replayed(one) for one in recorded(self._tf, folder))
        for kind, count in counts.items():
            what = "requests" if kind == "predict" else f"{kind} requests not replayed"
            yield f"{count} {what} of {RECORDED}"

    def _replayed(self, one: Recorded) -> str:
        name = one.signature or SIGNATURE
        if one.kind != "predict":
            return one.kind
        if name not in self.signatures:
            raise LoadError(f"{RECORDED} record {one.number} asks for {name!r}, which is no signature of the model")
        with named(f"{RECORDED} record {one.number}"):
            self.predict([self.signatures[name].rows_of_tensors(one.inputs, {})])
        return one.kind

    def sample(self) -> Sample | None:
        """One row of zeros, empty strings for text; every free axis has length 1."""
        if self._default is None or any(spec.shape is None for spec in self._default.schema.inputs):
            return None
        name, schema = self._default.name, self._default.schema
        inputs = {spec.name: _zeros(spec) for spec in schema.inputs}
        rows = TensorRows(inputs, 1, schema.batchable, name, is_whole=True)
        return Sample(rows, f"one row of zeros from {name}")


def _default(signatures: Mapping[str, SavedSignature]) -> SavedSignature | None:
    """Return serving_default, or the only one that there is."""
    first = next(iter(signatures.values()))
    return first if first.name == SIGNATURE or len(signatures) == 1 else None


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
