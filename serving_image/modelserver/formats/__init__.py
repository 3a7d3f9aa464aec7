"""One module per artifact format; each has `claims(folder)` and `load(folder, settings, scratch)`."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from modelserver.errors import LoadError
from modelserver.rows import Prediction, Rows
from modelserver.schema import Schema
from modelserver.settings import Settings

# The first that claims a folder has it; an archive of any name claims it last, for beside others it is data.
FORMATS = ("saved_model", "python_predictor", "torch_archive")


class Model(Protocol):
    """A loaded model. `rows_of` run on the loop and raise RequestError; `predict` runs on the model's thread."""

    format: str
    device: str
    schema: Schema | None
    max_batch: int | None
    # TorchServe's contract: one row a request. Without it a native route takes instances.
    takes_native_rows: bool
    # OCI's contract: any JSON document, answered by whatever the model returns.
    takes_documents: bool
    # Whether its calls only compute, so that short ones may run on the loop's own thread.
    only_computes: bool

    def rows_of_instances(self, body: bytes, headers: "Headers") -> Rows: ...
    def rows_of_columns(self, body: bytes) -> Rows: ...
    def rows_of_request(self, body: bytes, headers: "Headers") -> Rows: ...
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
