"""Run as a program: print as JSON what Torch sees in each file named in argv: its records, or how it loads."""

import hashlib
import json
import sys
import warnings
import zipfile

import torch

warnings.simplefilter("ignore")  # TorchScript's end is announced at each use


def records(path):
    """Return the records that Torch's own reader lists, without the folder that they all lie in."""
    reader = torch._C.PyTorchFileReader(path)
    return {name: hashlib.sha256(reader.get_record(name)).hexdigest() for name in reader.get_all_records()}


def loads(path):
    try:
        torch.jit.load(path)
    except RuntimeError:
        torch.load(path, weights_only=True)
    return True


def seen(path):
    if path.endswith(".pt2"):
        return {"records": records(path), "loads": bool(torch.export.load(path))}
    return {"records": records(path) if zipfile.is_zipfile(path) else {}, "loads": loads(path)}


print(json.dumps({path: seen(path) for path in sys.argv[1:]}))
