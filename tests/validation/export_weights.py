"""Run as a program: save weights in every form that Torch and numpy have, each into a file of its own below argv[1]."""

import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

OUT = Path(sys.argv[1])
warnings.simplefilter("ignore")  # TorchScript's end is announced at each use
torch.manual_seed(0)
MODEL = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU()).eval()
INPUT = torch.ones(2, 4)

torch.save(MODEL.state_dict(), OUT / "state.pt")
torch.save(MODEL.state_dict(), OUT / "legacy.pt", _use_new_zipfile_serialization=False)
optimizer = torch.optim.Adam(MODEL.parameters())
MODEL(INPUT).sum().backward()
optimizer.step()
checkpoint = {
    "model": MODEL.state_dict(),
    "optimizer": optimizer.state_dict(),
    "epoch": 3,
    "half": torch.ones(2).half(),
}
torch.save(checkpoint, OUT / "checkpoint.pt")
torch.jit.save(torch.jit.script(MODEL), OUT / "scripted.pt")
torch.jit.save(torch.jit.trace(MODEL, INPUT), OUT / "traced.pt")
torch.export.save(torch.export.export(MODEL, (INPUT,)), OUT / "exported.pt2")
np.savez(OUT / "arrays.npz", a=np.arange(6.0), b=np.ones((2, 3), np.float16))
np.savez_compressed(OUT / "packed.npz", a=np.arange(600.0))
np.save(OUT / "array.npy", np.arange(6.0))
(OUT / "scalars.pkl").write_bytes(pickle.dumps({"mean": np.float32(0.5), "std": np.ones(3), "names": ["a", "b"]}))

torch.save(MODEL, OUT / "whole_module.pt")
torch.save(MODEL, OUT / "whole_legacy.pt", _use_new_zipfile_serialization=False)
np.savez(OUT / "objects.npz", a=np.array([torch.nn.Linear(1, 1)], dtype=object))
