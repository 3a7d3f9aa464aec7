"""What is asked of every server: models, rows a request, how they are written, and what the answer must be."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Contract: TypeAlias = Literal["instances", "octets", "v2"]
CONNECTIONS = (1, 8, 32)
SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the comparison; `model` names the weights."""

    name: str
    model: str
    rows: int
    is_picture: bool
    says: str


WORKS = (
    Work("w1", "mlp", 1, False, "MLP 64-256-256-10, one row a request"),
    Work("w2", "mlp", 32, False, "the same, 32 rows a request"),
    Work("w3-json", "conv", 1, False, "conv net on 3x64x64, as JSON (147 kB)"),
    Work("w3-png", "conv", 1, True, "the same conv net, as a base64 PNG"),
    Work("w4", "decoder", 1, False, "recurrent decoder of about 20 ms a forward"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request's instances as JSON has them, and what a raw forward answers."""

    instances: list[Any]
    expected: Array


def samples(work: Work, folder: Path) -> list[Sample]:
    """Read what the builder left."""
    expected = np.load(folder / f"{work.name}.expected.npy")
    if work.is_picture:
        pictures = [(folder / f"{work.name}.{i}.png").read_bytes() for i in range(SAMPLES)]
        return [Sample([_b64(png)], answer) for png, answer in zip(pictures, expected, strict=True)]
    given = np.load(folder / f"{work.name}.given.npy")
    return [Sample(rows.tolist(), answer) for rows, answer in zip(given, expected, strict=True)]


def _b64(png: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(png).decode()}


def body(contract: Contract, instances: Sequence[Any]) -> bytes:
    """Write a request as its contract has it, without spaces."""
    document = _v2(instances) if contract == "v2" else {"instances": instances}
    return json.dumps(document, separators=(",", ":")).encode()


def _v2(instances: Sequence[Any]) -> dict[str, Any]:
    if isinstance(instances[0], dict):
        data = [one["b64"] for one in instances]
        return {"inputs": [{"name": "input", "shape": [len(data)], "datatype": "BYTES", "data": data}]}
    array = np.asarray(instances)
    data = array.ravel().tolist()
    return {"inputs": [{"name": "input", "shape": list(array.shape), "datatype": "FP32", "data": data}]}


def content_type(contract: Contract) -> str:
    return "application/octet-stream" if contract == "octets" else "application/json"


def answer_of(contract: Contract, text: bytes) -> Array:
    """Read the predictions out of an answer; raise ValueError or KeyError where there are none."""
    document = json.loads(text)
    if contract == "v2":
        output = document["outputs"][0]
        return np.asarray(output["data"], dtype=np.float64).reshape(output["shape"])
    return np.asarray(document["predictions"], dtype=np.float64)


def is_right(got: Array, expected: Array) -> bool:
    return got.shape == expected.shape and bool(np.allclose(got, expected, rtol=1e-3, atol=1e-4))
