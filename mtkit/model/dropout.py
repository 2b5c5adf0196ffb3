"""Dropout whose masks cost little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zero each element with probability `p` in training, and scale the others by 1 / (1 - p).

    On a CPU, torch draws one random number an element, which takes up to a sixth of a training step. Here four
    elements share the 64 bits of one draw: each compares its 16 bits with a threshold, so `p` is met to 1 / 65536 and
    the scale is that of the probability used. Masks come from torch's default generator, as everywhere.

    Args:
        p: Probability of zero, in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with dropout applied; any shape and floating type."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        return x * _draw_cpu_mask(x.shape, self.p, x.dtype)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Return x + dropout(y), for tensors of one shape, in one pass over memory on a CPU."""
        if not self.training or self.p == 0 or x.device.type != "cpu" or x.dtype != y.dtype:
            return x + self.forward(y)
        return torch.addcmul(x, y, _draw_cpu_mask(y.shape, self.p, y.dtype))

    def draw_mask(self, like: Tensor) -> Tensor | None:
        """Return a mask of zeros and 1 / (1 - p) for a CPU tensor; None where nothing is to be dropped."""
        if not self.training or self.p == 0:
            return None
        return _draw_cpu_mask(like.shape, self.p, like.dtype)

    def extra_repr(self) -> str:
        """Return what `print(model)` shows."""
        return f"p={self.p}"


def _draw_cpu_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """Return a tensor of zeros and 1 / (1 - p), zero with probability `p` rounded to 1 / 65536."""
    dropped = round(p * _LEVELS)
    count = shape.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64)
    words.random_(torch.iinfo(torch.int64).min, None)
    bits = words.view(torch.int16)[:count].view(shape)
    kept = bits >= dropped - _LEVELS // 2
    return kept.to(dtype).mul_(_LEVELS / (_LEVELS - dropped))
