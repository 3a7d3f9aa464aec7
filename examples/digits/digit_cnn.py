"""The PyTorch network: goes into the archive beside its weights."""

import torch
from torch import nn


class DigitCNN(nn.Module):
    """Pixels (N, 64), 0 to 16, in; logits (N, 10) out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 4 * 4, 10)
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(pixels.reshape(-1, 1, 8, 8) / 16)
        return logits
