"""What every peer's handler does between its framework's two ends: the same decoding, the same weights, one call."""

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def decode(instances: Sequence[Any]) -> Rows:
    """Make one array of instances: nested lists of numbers, or `{"b64": a PNG}` each."""
    if isinstance(instances[0], dict):
        return np.stack([picture(base64.b64decode(one["b64"])) for one in instances])
    return np.asarray(instances, dtype=np.float32)


def picture(png: bytes) -> Rows:
    """Decode a picture to 3 x height x width between 0 and 1; every server in the comparison uses these lines."""
    from PIL import Image  # noqa: PLC0415 - only pictures want it

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) / 255)


class Torch:
    """TorchScript weights."""

    def __init__(self, path: Path, threads: int) -> None:
        import torch  # noqa: PLC0415 - seconds, for its models only

        torch.set_num_threads(threads)
        self._torch = torch
        self._module = torch.jit.load(str(path)).eval()

    def __call__(self, rows: Rows) -> Rows:
        with self._torch.inference_mode():
            answer: Rows = self._module(self._torch.from_numpy(rows)).numpy()
        return answer


class SavedModel:
    """A SavedModel's serving_default signature."""

    def __init__(self, path: Path, threads: int) -> None:
        import tensorflow as tf  # noqa: PLC0415 - seconds, for its models only

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._tf = tf
        self._root = tf.saved_model.load(str(path))
        self._call = self._root.signatures["serving_default"]

    def __call__(self, rows: Rows) -> Rows:
        answer: Rows = next(iter(self._call(self._tf.constant(rows)).values())).numpy()
        return answer


def load() -> Torch | SavedModel:
    """Load what PEER_MODEL names: a folder is a SavedModel."""
    path, threads = Path(os.environ["PEER_MODEL"]), int(os.environ.get("PEER_THREADS", "1"))
    return SavedModel(path, threads) if path.is_dir() else Torch(path, threads)
