"""Pictures for ours: the server has undone base64, the handler decodes as every other server's does."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from forward import picture


class PictureHandler:
    accepts_arrays = True

    def initialize(self, context: Any) -> None:
        folder = Path(context.system_properties["model_dir"])
        self.module = torch.jit.load(str(folder / context.manifest["model"]["serializedFile"])).eval()

    def handle(self, rows: list[dict[str, Any]], context: Any) -> Any:
        del context
        pictures = np.stack([picture(row["data"]) for row in rows])
        with torch.inference_mode():
            return self.module(torch.from_numpy(pictures)).numpy()
