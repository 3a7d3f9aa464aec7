"""One module per artifact format; each has `claims(folder)` and `load(folder, settings, scratch)`."""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from modelserver.errors import LoadError
from modelserver.rows import Array, Prediction, Rows
from modelserver.schema import Schema
from modelserver.settings import Settings

# The first that claims a folder has it; an archive of any name claims it last, for beside others it is data.
FORMATS = ("saved_model", "python_predictor", "torch_archive")


class Reader(Protocol):
    """How requests become rows: on the loop, each raising RequestError that names what is wrong."""

    def rows_of_instances(self, body: bytes, headers: "Headers") -> Rows: ...
    def rows_of_columns(self, body: bytes) -> Rows: ...
    def rows_of_request(self, body: bytes, headers: "Headers") -> Rows: ...
    # Whole tensors by name, each with its batch axis: what the Open Inference Protocol and .npy bodies hold.
    def rows_of_tensors(self, tensors: Mapping[str, Array], headers: "Headers") -> Rows: ...


class Signature(Reader, Protocol):
    """One of several functions of a model."""

    @property
    def schema(self) -> Schema: ...
    @property
    def takes_bytes(self) -> bool: ...


class Model(Reader, Protocol):
    """A loaded model; `predict` runs on the model's thread."""

    format: str
    device: str
    # Of the signature that is meant where a request names none; None where the model does not say.
    schema: Schema | None
    # By name; empty where a model is one function only.
    signatures: Mapping[str, Signature]
    # Whether `rows_of_instances` and `rows_of_request` take bodies that are no JSON.
    takes_bytes: bool
    max_batch: int | None
    # The longest that a call may be put off for more rows.
    max_delay_s: float | None
    # TorchServe's contract: one row a request. Without it a native route takes instances.
    takes_native_rows: bool
    # OCI's contract: any JSON document, answered by whatever the model returns.
    takes_documents: bool
    # Whether its calls only compute, so that short ones may run on the loop's own thread.
    only_computes: bool

    def predict(self, batch: Sequence[Rows], /) -> Sequence[Prediction]: ...
    def sample(self) -> "Sample | None": ...


Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that can be made without anybody's help, and where it came from."""

    rows: Rows
    origin: str


class Format(Protocol):
    def claims(self, folder: Path) -> bool: ...
    def load(self, folder: Path, settings: Settings, scratch: Path) -> Model: ...


def load(settings: Settings, scratch: Path) -> Model:
    """Load what lies in the model folder; raise LoadError where no format knows it."""
    folder = settings.model_dir
    for name in FORMATS:
        module: Any = importlib.import_module(f"modelserver.formats.{name}")
        format_: Format = module
        if format_.claims(folder):
            return format_.load(folder, settings, scratch)
    raise LoadError(f"{folder} holds neither saved_model.pb nor a .mar archive, score.py or predictor.py")


def set_openmp(threads: int) -> None:
    """Say how OpenMP computes, for Torch and NumPy to read as they are imported.

    A team that spins while it waits takes the core that its other half needs, as soon as anything else runs here.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
