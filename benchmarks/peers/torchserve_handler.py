"""A handler for TorchServe: every request's rows in one forward, orjson both ways.

The body is sent as octets, for what says that it is JSON is parsed by the standard library before the handler.
"""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


class Handler:
    def initialize(self, context: Any) -> None:
        from forward import Torch  # noqa: PLC0415 - it lies in the archive, which is on the path only now

        folder = Path(context.system_properties["model_dir"])
        self.forward = Torch(folder / context.manifest["model"]["serializedFile"], THREADS)

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[bytes]:
        """One answer a request, however many instances that has."""
        del context
        from forward import decode  # noqa: PLC0415

        inputs = [decode(orjson.loads(row.get("body") or row["data"])["instances"]) for row in rows]
        answers = self.forward(np.concatenate(inputs))
        ends = np.cumsum([0, *(len(given) for given in inputs)])
        return [_encoded(answers[start:end]) for start, end in pairwise(ends)]


def _encoded(answer: Any) -> bytes:
    return orjson.dumps({"predictions": answer}, option=orjson.OPT_SERIALIZE_NUMPY)
