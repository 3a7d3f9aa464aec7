"""A handler as most archives have it: rows come as lists, answers leave as lists. Ours serves it unchanged."""

from pathlib import Path
from typing import Any

import torch


class ListHandler:
    def initialize(self, context: Any) -> None:
        folder = Path(context.system_properties["model_dir"])
        self.module = torch.jit.load(str(folder / context.manifest["model"]["serializedFile"])).eval()

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[Any]:
        del context
        with torch.inference_mode():
            return self.module(torch.tensor([row["data"] for row in rows], dtype=torch.float32)).tolist()
