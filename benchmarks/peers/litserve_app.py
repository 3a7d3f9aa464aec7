"""LitServe: its own JSON, its own workers; batches where PEER_BATCH says so."""

import os
from collections.abc import Sequence
from typing import Any

import litserve
import numpy as np
from forward import Rows, decode, load


class Served(litserve.LitAPI):
    def setup(self, device: str) -> None:
        del device
        self.forward = load()

    def decode_request(self, request: dict[str, Any]) -> Rows:
        return decode(request["instances"])

    def batch(self, inputs: Sequence[Rows]) -> tuple[Rows, list[int]]:
        return np.concatenate(inputs), [len(rows) for rows in inputs]

    def predict(self, x: Any) -> Any:
        if isinstance(x, tuple):
            rows, counts = x
            return self.forward(rows), counts
        return self.forward(x)

    def unbatch(self, output: tuple[Rows, list[int]]) -> list[Rows]:
        answer, counts = output
        return np.split(answer, np.cumsum(counts)[:-1])

    def encode_response(self, output: Rows) -> dict[str, Any]:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    batch = int(os.environ.get("PEER_BATCH", "1"))
    api = Served(max_batch_size=batch, batch_timeout=0.001 if batch > 1 else 0)
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=int(os.environ["PEER_WORKERS"]),
        fast_queue=os.environ.get("PEER_FAST_QUEUE") == "1",
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
