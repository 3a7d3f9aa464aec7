"""ResNet-50- and encoder-shaped models with random weights, and their raw batched forward on a GPU.

`python benchmarks/serving_gpu_models.py FOLDER` prints JSON: what was measured, or why it was skipped.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROWS = 32  # in one request
RAW_BATCHES, RAW_SECONDS = (32, 64, 128, 256), 2.0
TOKENS, WORDS = 128, 30_000
# TorchScript is deprecated, and is what a `.mar` holds.
warnings.filterwarnings("ignore")


class Pictures(nn.Module):
    """ResNet-50 behind the usual scaling, so that pictures travel as bytes."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50  # noqa: PLC0415 - only here

        self.net = resnet50(weights=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x / 255)


class Encoder(nn.Module):
    """As deep and wide as BERT's base: token ids in, one vector a row out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 768)
        layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True, dropout=0.0)
        self.layers = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.words(x)).mean(1)


def measure(folder: Path, device: str) -> dict[str, Any]:
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    given = {
        "resnet50": (Pictures(), rng.integers(0, 256, (ROWS, 3, 224, 224), dtype=np.uint8)),
        "encoder": (Encoder(), rng.integers(0, WORDS, (ROWS, TOKENS), dtype=np.int64)),
    }
    return {name: _one(folder, name, *one, device) for name, one in given.items()}


def _one(folder: Path, name: str, module: nn.Module, rows: Any, device: str) -> dict[str, Any]:
    """Write the weights, one request and its answer; time the forward on rows that are on the device already."""
    example = torch.from_numpy(rows if rows.dtype == np.int64 else rows.astype(np.float32))
    with torch.inference_mode():
        traced = torch.jit.trace(module.eval(), example[:2], check_trace=False)
        torch.jit.save(traced, str(folder / f"{name}.pt"))
        module = torch.jit.load(str(folder / f"{name}.pt"), map_location=device).eval()
        on_device = example.to(device)
        np.save(folder / f"{name}.given.npy", rows)
        np.save(folder / f"{name}.expected.npy", module(on_device).cpu().numpy())
        rates = {n: n * _rate(module, on_device.repeat(-(-n // ROWS), *[1] * (rows.ndim - 1))[:n]) for n in RAW_BATCHES}
    batch = max(rates, key=lambda n: rates[n])
    return {"raw_rows_per_s": rates[batch], "raw_batch": batch, "raw": rates}


def _rate(module: Any, rows: Tensor) -> float:
    for _ in range(5):
        module(rows)
    _wait(rows)
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < RAW_SECONDS:
        module(rows)
        _wait(rows)
        calls += 1
    return calls / (time.perf_counter() - began)


def _wait(rows: Tensor) -> None:
    if rows.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    if torch.cuda.is_available():
        print(json.dumps({"device": torch.cuda.get_device_name(0), "models": measure(Path(sys.argv[1]), "cuda:0")}))
    else:
        print(json.dumps({"skipped": "skipped, for Torch sees no GPU here"}))


if __name__ == "__main__":
    main()
