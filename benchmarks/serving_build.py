"""Makes the models, requests and right answers, and measures raw forwards: a process of its own, which loads Torch.

`python benchmarks/serving_build.py build FOLDER` and `... raw FOLDER WORK` print JSON.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.peers.forward import Torch, picture  # noqa: E402
from benchmarks.serving_work import SAMPLES, WORKS, Array, Work  # noqa: E402

WIDTH, WANTED_MS = 128, 20.0
RAW_BATCHES, RAW_SECONDS = (1, 8, 32), 0.5
# TorchScript is deprecated, and is what a `.mar` holds.
warnings.filterwarnings("ignore", category=FutureWarning)


class Conv(nn.Module):
    """Three strided convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 16, 32, 64)
        pairs = pairwise(sizes)
        self.layers = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs])
        self.out = nn.Linear(64 * 8 * 8, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.out(x.flatten(1))


class Decoder(nn.Module):
    """A recurrent cell fed with its own output: small steps one after another, which a batch shares."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.read = nn.Linear(64, WIDTH)
        self.step = nn.GRUCell(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, 10)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        state = torch.tanh(self.read(x))
        token = state
        for _ in range(self.steps):
            state = self.step(token, state)
            token = torch.relu(state)
        return self.out(state)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


# --- building ---------------------------------------------------------------------------------------------------------
def build(folder: Path) -> dict[str, Any]:
    """Write every model with its requests and answers; return what was measured of the slow one."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    layers, decoder = mlp(), calibrated()
    modules: dict[str, nn.Module] = {"mlp": layers, "mlp-second": mlp(), "conv": Conv(), "decoder": decoder}
    for name, module in modules.items():
        torch.jit.save(frozen(module), str(folder / f"{name}.pt"))
    for work in WORKS:
        _write(work, folder, rng)
    np.savez(folder / "mlp.npz", *[p.detach().numpy() for p in layers.parameters()])
    forward = Torch(folder / "decoder.pt", 1)
    rows = {n: np.zeros((n, 64), np.float32) for n in RAW_BATCHES}
    return {"steps": decoder.steps, "forward_ms": {n: round(_ms(partial(forward, x)), 2) for n, x in rows.items()}}


def frozen(module: nn.Module) -> Any:
    return torch.jit.freeze(torch.jit.script(module.eval()))


def calibrated() -> Decoder:
    """As many steps as take about WANTED_MS a forward here."""
    trial = frozen(Decoder(50))
    with torch.inference_mode():
        per_step = _ms(lambda: trial(torch.zeros(1, 64))) / 50
    return Decoder(round(WANTED_MS / per_step))


def _ms(call: Callable[[], Any]) -> float:
    """CPU time of one thread, which others on the machine disturb least."""
    seconds = []
    for _ in range(25):
        began = time.thread_time()
        call()
        seconds.append(time.thread_time() - began)
    return 1000 * median(seconds[5:])


def _write(work: Work, folder: Path, rng: np.random.Generator) -> None:
    forward = Torch(folder / f"{work.model}.pt", 1)
    if work.is_picture:
        for i in range(SAMPLES):
            _picture(rng).save(folder / f"{work.name}.{i}.png")
        given = np.stack([picture((folder / f"{work.name}.{i}.png").read_bytes())[None] for i in range(SAMPLES)])
    else:
        shape = (3, 64, 64) if work.model == "conv" else (64,)
        # Nine decimals: 12 characters a number, as much as clients send of a float32.
        given = np.round(rng.random((SAMPLES, work.rows, *shape)), 9)
        np.save(folder / f"{work.name}.given.npy", given)
    np.save(folder / f"{work.name}.expected.npy", np.stack([forward(rows.astype(np.float32)) for rows in given]))


def _picture(rng: np.random.Generator) -> Image.Image:
    """Something between a drawing and noise, as photographs are."""
    y, x = np.mgrid[0:64, 0:64]
    waves = [127 + 90 * np.sin(x / rng.uniform(4, 12) + y / rng.uniform(4, 12)) for _ in range(3)]
    noisy = np.stack(waves, axis=-1) + rng.normal(0, 6, (64, 64, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


# --- the bare limit ---------------------------------------------------------------------------------------------------
def raw(folder: Path, work: Work) -> dict[str, float]:
    """Return rows a second of the forward alone, by batch and threads."""
    given = _given(folder, work)
    rows = {}
    for threads in (1, 2):
        forward = Torch(folder / f"{work.model}.pt", threads)
        for batch in RAW_BATCHES:
            one = np.concatenate([given] * -(-batch // len(given)))[:batch].astype(np.float32)
            rows[f"batch {batch}, threads {threads}"] = round(batch * _rate(partial(forward, one)), 1)
    return rows


def _given(folder: Path, work: Work) -> Array:
    if work.is_picture:
        return picture((folder / f"{work.name}.0.png").read_bytes())[None]
    rows: Array = np.load(folder / f"{work.name}.given.npy")[0]
    return rows


def _rate(call: Callable[[], Any]) -> float:
    for _ in range(5):
        call()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < RAW_SECONDS:
        call()
        calls += 1
    return calls / (time.perf_counter() - began)


def main() -> None:
    what, folder, *rest = sys.argv[1:]
    if what == "build":
        print(json.dumps(build(Path(folder))))
    else:
        [work] = [w for w in WORKS if w.name == rest[0]]
        print(json.dumps(raw(Path(folder), work)))


if __name__ == "__main__":
    main()
