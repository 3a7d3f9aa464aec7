"""The handler in v1's archive: TorchServe's contract, a class with `initialize` and `handle`."""

from pathlib import Path
from typing import Any

import torch
from digit_cnn import DigitCNN


class DigitsHandler:
    """Rows {"data": [64 numbers]} in; ten probabilities for each row out."""

    def initialize(self, context: Any) -> None:
        torch.set_num_threads(1)  # a network this small is slower on more, and far slower where processors are shared
        folder, gpu = context.system_properties["model_dir"], context.system_properties.get("gpu_id")
        self.device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
        self.model = DigitCNN().to(self.device).eval()
        self.model.load_state_dict(torch.load(Path(folder) / "weights.pt", weights_only=True))

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[list[float]]:
        del context
        pixels = torch.tensor([row["data"] for row in rows], dtype=torch.float32, device=self.device)
        with torch.inference_mode():
            probabilities: list[list[float]] = self.model(pixels).softmax(dim=1).tolist()
        return probabilities
