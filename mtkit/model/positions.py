"""Where a token stands: sinusoidal or learned position encodings."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mtkit.config.model import ModelConfig

PositionLayout = Literal["interleaved", "split"]


def sinusoidal_positions(length: int, d_model: int, layout: PositionLayout = "interleaved") -> Tensor:
    """Return the position encodings of Vaswani et al. 2017, section 3.5: `(length, d_model)` float32.

    PE(pos, 2i) = sin(pos / 10000^(2i / d_model)) and PE(pos, 2i + 1) = cos of the same. The layout `split` holds all
    sines in the first half and all cosines in the second, as Marian and tensor2tensor do.
    """
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float64) * (-math.log(10000.0) / d_model))
    angle = position * frequency  # (length, d_model / 2)
    sine, cosine = angle.sin(), angle.cos()
    if layout == "split":
        return torch.cat([sine, cosine], dim=1).float()
    return torch.stack([sine, cosine], dim=2).flatten(1).float()


class PositionEncoding(nn.Module):
    """Adds position encodings to embeddings.

    The sinusoidal table is a function, not a weight: it is not stored, and grows when a longer sequence comes.
    """

    table: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.d_model = config.d_model
        self.layout: PositionLayout = config.position_layout
        self.is_learned = config.positions == "learned"
        if self.is_learned:
            self.table = nn.Parameter(torch.empty(config.max_positions, config.d_model))
        else:
            table = sinusoidal_positions(config.max_positions, config.d_model, config.position_layout)
            self.register_buffer("table", table, persistent=False)

    @property
    def max_length(self) -> int | None:
        """Longest sequence that can be encoded, in tokens; None for no limit."""
        return len(self.table) if self.is_learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, `(batch, length, d_model)`, with the encodings of its positions added."""
        return x + self.find(0, x.size(1))

    def find(self, start: int, end: int) -> Tensor:
        """Return the encodings of positions `start` to `end`, that one not included: `(end - start, d_model)`."""
        if end > len(self.table) and not self.is_learned:
            longer = sinusoidal_positions(2 * end, self.d_model, self.layout)
            self.table = longer.to(device=self.table.device, dtype=self.table.dtype)
        return self.table[start:end]
