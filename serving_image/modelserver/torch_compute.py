"""Calling a Torch module with an array: on a CPU as it is, on a GPU through pinned memory on a stream of its own."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from modelserver.errors import LoadError
from modelserver.rows import Array

GIB = 1024**3
# What a CUDA context, its libraries and the first calls' scratch memory take beside the weights.
RESERVE = GIB // 2
WEIGHT_SHARE = 1.1


def shortage(*, weights: int, free: int) -> str:
    """Say what is missing for weights of so many bytes on a device with so many free; empty where they fit."""
    wanted = int(weights * WEIGHT_SHARE) + RESERVE
    if wanted <= free:
        return ""
    return f"it needs about {wanted / GIB:.1f} GiB of GPU memory, and {free / GIB:.1f} GiB are free"


def check_memory(torch: Any, weights: int, device: str) -> None:
    """Refuse before loading what would only run out of memory again and again."""
    if device == "cpu":
        return
    free, _ = torch.cuda.mem_get_info(device)
    if why := shortage(weights=weights, free=free):
        raise LoadError(f"the model does not fit on {device}: {why}; use a larger GPU, or MODELDROP_DEVICE=cpu")


class Compute:
    """Arrays in, arrays out. A CUDA stream of the model's own lets its copies overlap with another's calls."""

    def __init__(self, torch: Any, module: Any, device: str, autocast: str = "off") -> None:
        self._torch = torch
        self._module = module
        self._device = device
        self._autocast = None if autocast == "off" else getattr(torch, autocast)
        self._stream = None if device == "cpu" else torch.cuda.Stream(device)

    def __call__(self, array: Array) -> dict[str, Array]:
        writable = array if array.flags.c_contiguous and array.flags.writeable else np.require(array, None, ("C", "W"))
        given = self._torch.from_numpy(writable)
        with self._torch.inference_mode(), self._precision():
            if self._stream is None:
                return {name: _array(value) for name, value in _named(self._module(given)).items()}
            return self._on_stream(given)

    def _precision(self) -> AbstractContextManager[Any]:
        if self._autocast is None:
            return nullcontext()
        context: AbstractContextManager[Any] = self._torch.autocast(self._device.split(":")[0], dtype=self._autocast)
        return context

    def _on_stream(self, given: Any) -> dict[str, Array]:
        """Copy in, compute and copy out without waiting between; wait once, without the interpreter's lock."""
        with self._torch.cuda.stream(self._stream):
            answer = self._module(given.pin_memory().to(self._device, non_blocking=True))
            fetched = {name: self._fetched(value) for name, value in _named(answer).items()}
        self._stream.synchronize()  # type: ignore[union-attr]  # a GPU has one
        return {name: _array(value) for name, value in fetched.items()}

    def _fetched(self, value: Any) -> Any:
        pinned = self._torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        return pinned.copy_(value, non_blocking=True)


def _named(answer: Any) -> dict[str, Any]:
    """Several outputs go by name, else by position."""
    if isinstance(answer, Mapping):
        return dict(answer)
    if isinstance(answer, list | tuple):
        return {f"output_{i}": value for i, value in enumerate(answer)}
    return {"output_0": answer}


def _array(value: Any) -> Array:
    """NumPy has no bfloat16."""
    try:
        array: Array = value.numpy()
    except TypeError:
        array = value.float().numpy()
    return array
