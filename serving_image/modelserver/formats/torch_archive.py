"""TorchServe's .mar archives: custom handlers, TorchServe's own, and TorchScript behind base_handler."""

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from modelserver.archive import Archive, unpack
from modelserver.context import Context
from modelserver.errors import RequestError
from modelserver.formats import Headers, Model, Sample, Signature, set_openmp, torchscript
from modelserver.handler_config import HandlerConfig, cuda_device, handler_config
from modelserver.handler_metrics import Metrics
from modelserver.handler_rows import instance_rows, native_row, tensor_rows
from modelserver.handlers import Handler, find_handler, is_default
from modelserver.log import emit
from modelserver.requirements import available
from modelserver.rows import Array, HandlerRows, Prediction, Rows
from modelserver.schema import Schema
from modelserver.settings import Settings

ARCHIVE = "model.mar"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738"
    "550000000049454e44ae426082"
)


def claims(folder: Path) -> bool:
    return (folder / ARCHIVE).is_file() or len(list(folder.glob("*.mar"))) == 1


def load(folder: Path, settings: Settings, scratch: Path) -> Model:
    """Unpack, then serve TorchScript on arrays where the handler is base_handler, else through the handler."""
    path = folder / ARCHIVE
    archive = unpack(path if path.is_file() else next(folder.glob("*.mar")), scratch)
    is_native = torchscript.claims(archive) and is_default(archive)
    # Torch reads it when it is imported, by us or by the handler; many handlers need no Torch at all.
    set_openmp(settings.call_threads if is_native else settings.threads)
    config = handler_config(archive.config)
    if config.without_effect:
        emit("config_without_effect", keys=config.without_effect, file=archive.model.get("configFile"))
    device = cuda_device(config, wanted=settings.device, count=_gpus)
    if is_native and not torchscript.brings_code(archive):
        return _native(archive, device, settings, config)
    # TorchServe's workers run in the model's folder and import from it.
    os.chdir(archive.folder)
    sys.path.insert(0, str(archive.folder))
    with available(archive.path_of("requirementsFile"), settings, scratch):
        if is_native:
            return _native(archive, device, settings, config)
        return HandledModel(archive, find_handler(archive), settings=settings, config=config, device=device)


def _native(archive: Archive, device: str, settings: Settings, config: HandlerConfig) -> Model:
    model = torchscript.load(archive, device, settings)
    model.takes_native_rows = not config.takes_instances
    model.max_batch = config.batch_size
    model.max_delay_s = config.max_delay_s
    return model


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _gpus() -> int:
    """Count what Torch sees; it is imported for that only on a machine that has CUDA's driver."""
    if not _has_cuda_driver():
        return 0
    try:
        import torch  # noqa: PLC0415 - seconds and gigabytes
    except ImportError:
        return 0
    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


class HandledModel:
    format = "torch_archive"
    schema: Schema | None = None
    takes_documents = False
    takes_bytes = True
    only_computes = False
    signatures: Mapping[str, Signature] = MappingProxyType({})

    def __init__(
        self, archive: Archive, handler: Handler, *, settings: Settings, config: HandlerConfig, device: str
    ) -> None:
        self.device = device
        self.max_batch = 1 if _takes_one_row(archive) else config.batch_size
        self.max_delay_s = config.max_delay_s
        self.request_timeout_s = config.response_timeout_s
        self.takes_native_rows = not config.takes_instances
        self.reported = Metrics()
        self._archive = archive
        self._handler = handler
        self._is_bare = config.has_bare_rows
        self._context = Context(
            model_name=settings.model_name,
            model_dir=str(archive.folder),
            manifest=archive.manifest,
            config=archive.config,
            gpu_id=int(device.removeprefix("cuda:")) if device.startswith("cuda") else None,
            batch_size=self.max_batch or settings.max_batch,
            metrics=self.reported,
        )
        handler.initialize(self._context)

    def rows_of_instances(self, body: bytes, headers: Headers) -> Rows:
        return HandlerRows(instance_rows(body, bare=self._is_bare, arrays=self._handler.accepts_arrays), headers)

    def rows_of_columns(self, body: bytes) -> Rows:
        del body
        raise RequestError(400, "no_columns", 'an archive takes "instances", not "inputs"', where="inputs")

    def rows_of_request(self, body: bytes, headers: Headers) -> Rows:
        row: Any = native_row(body, headers, arrays=self._handler.accepts_arrays)
        if self._is_bare:
            row = row["data"] if "data" in row else row.get("body", row)
        return HandlerRows([row], headers)

    def rows_of_tensors(self, tensors: Mapping[str, Array], headers: Headers) -> Rows:
        return HandlerRows(tensor_rows(tensors, bare=self._is_bare, arrays=self._handler.accepts_arrays), headers)

    def predict(self, batch: Sequence[Rows], /) -> Sequence[Prediction]:
        """Call the handler, never with more rows than its batchSize; one prediction a request."""
        requests = [rows for rows in batch if isinstance(rows, HandlerRows)]
        rows = [(row, request.headers) for request in requests for row in request.rows]
        size = self.max_batch or len(rows)
        answers = [answer for i in range(0, len(rows), size) for answer in self._call(rows[i : i + size])]
        return _per_request(answers, [request.count for request in requests])

    def _call(self, rows: Sequence[tuple[Any, Mapping[str, str]]]) -> list[Prediction]:
        self._context.begin([headers for _, headers in rows], [uuid4().hex for _ in rows])
        answer = self._handler.handle([row for row, _ in rows], self._context)
        values = _one_each(answer, len(rows))
        exchanges = self._context.request_processor
        return [Prediction([v], e.status, e.response_headers) for v, e in zip(values, exchanges, strict=True)]

    def sample(self) -> Sample | None:
        """One small picture for TorchServe's image handlers; nobody knows what any other handler takes."""
        if is_default(self._archive) and str(self._archive.model["handler"]).startswith(("image_", "object_")):
            return Sample(HandlerRows([{"body": bytearray(PNG)}]), "one small picture")
        return None


def _takes_one_row(archive: Archive) -> bool:
    """Of TorchServe's own handlers, the one for texts answers only the first of several rows."""
    return is_default(archive) and archive.model["handler"] == "text_classifier"


def _one_each(answer: Any, count: int) -> list[Any]:
    values = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(values, list | tuple):
        kind = type(values).__name__
        raise RequestError(500, "bad_handler_answer", f"the handler returned {kind}, not a list with one item a row")
    if len(values) != count:
        message = f"the handler returned {len(values)} items for {count} rows; it must return one item a row"
        raise RequestError(500, "bad_handler_answer", message)
    return list(values)


def _per_request(answers: Sequence[Prediction], counts: Sequence[int]) -> list[Prediction]:
    left = iter(answers)
    groups = [[next(left) for _ in range(count)] for count in counts]
    return [Prediction([p.values[0] for p in g], g[0].status, g[0].headers) for g in groups]  # type: ignore[index]  # a list
