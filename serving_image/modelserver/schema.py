"""What a model says about its inputs and outputs; the unknown is None."""

from dataclasses import dataclass
from typing import Any

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: dtype is TensorFlow's name for it; shape None means that even the rank is unknown."""

    name: str
    dtype: str
    shape: Shape | None

    @property
    def has_batch_axis(self) -> bool:
        return self.shape is None or (bool(self.shape) and self.shape[0] is None)

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": None if self.shape is None else list(self.shape)}


@dataclass(frozen=True, slots=True)
class Schema:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def batchable(self) -> bool:
        """Rows of several requests may share a call only if every input has a free first axis."""
        return all(spec.has_batch_axis for spec in self.inputs)

    def as_json(self) -> dict[str, Any]:
        return {"inputs": [s.as_json() for s in self.inputs], "outputs": [s.as_json() for s in self.outputs]}
