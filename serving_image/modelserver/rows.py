"""Rows: the unit that is queued, batched and predicted. A request holds one or more of them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelserver.errors import RequestError

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class TensorRows:
    """Named arrays that share their first axis, for one of the model's signatures.

    `is_whole` says that the answer is read as whole tensors, so that outputs without a batch axis are in order.
    """

    inputs: Mapping[str, Array]
    count: int
    batchable: bool = True
    signature: str = ""
    is_whole: bool = False

    @property
    def key(self) -> Hashable:
        """Only rows of one signature, shape and type can be concatenated; what has no batch axis is alone."""
        if not self.batchable:
            return id(self)
        return (self.signature, *((name, array.shape[1:], array.dtype.str) for name, array in self.inputs.items()))

    def split(self) -> "list[TensorRows]":
        if not self.batchable:
            return [self]
        rows = ({n: a[i : i + 1] for n, a in self.inputs.items()} for i in range(self.count))
        return [TensorRows(inputs, 1, signature=self.signature) for inputs in rows]


@dataclass(frozen=True, slots=True, eq=False)
class HandlerRows:
    """Rows as a TorchServe handler takes them, with the request headers that its context shows."""

    rows: Sequence[Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    key: Hashable = "handler"

    @property
    def count(self) -> int:
        return len(self.rows)

    def split(self) -> "list[HandlerRows]":
        return [HandlerRows([row], self.headers) for row in self.rows]


@dataclass(frozen=True, slots=True, eq=False)
class DocumentRows:
    """A whole request as its model takes it: called once, alone, and never row by row."""

    document: Any
    count: int
    has_instances: bool  # it came, and is answered, by an instances contract

    @property
    def key(self) -> Hashable:
        return id(self)

    def split(self) -> "list[DocumentRows]":
        return [self]


Rows: TypeAlias = TensorRows | HandlerRows | DocumentRows


@dataclass(frozen=True, slots=True)
class Prediction:
    """One value a row: an array or list, or several arrays by name; plus what a handler set on its response."""

    values: Array | Sequence[Any] | Mapping[str, Array]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def concatenated(batch: Sequence[TensorRows]) -> dict[str, Array]:
    """Join the rows of several requests on their first axis."""
    if len(batch) == 1:
        return dict(batch[0].inputs)
    return {name: np.concatenate([rows.inputs[name] for rows in batch]) for name in batch[0].inputs}


def cut(outputs: Mapping[str, Array], counts: Sequence[int]) -> list[Prediction]:
    """Give each request its rows back; raise where an output has not one entry a row."""
    total = sum(counts)
    for name, array in outputs.items():
        if array.shape[:1] != (total,):
            message = f"output {name!r} has shape {list(array.shape)}: not one entry for each of {total} rows"
            raise RequestError(500, "unsplittable_output", message)
    if len(counts) == 1:
        return [whole(outputs)]
    starts = accumulate(counts, initial=0)
    return [whole({n: a[i : i + k] for n, a in outputs.items()}) for i, k in zip(starts, counts, strict=False)]


def whole(outputs: Mapping[str, Array]) -> Prediction:
    """Contiguous, as the encoder wants it; a single output needs no name."""
    arrays = {name: np.asarray(array, order="C") for name, array in outputs.items()}
    return Prediction(next(iter(arrays.values())) if len(arrays) == 1 else arrays)


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Put the predictions of single rows together again, in order."""
    return Prediction([value for part in parts for value in listed(part.values)], parts[0].status, parts[0].headers)


def listed(values: Array | Sequence[Any] | Mapping[str, Array]) -> Sequence[Any]:
    """One entry a row; several outputs become objects by name."""
    if not isinstance(values, Mapping):
        return values  # type: ignore[return-value]  # an array is a sequence of its rows
    names = list(values)
    return [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]
