"""Softmax over few numbers.

On an x86 CPU torch computes softmax by vectors, of 64 bytes with AVX-512 and 32 with AVX2. A row that does not fill one
is computed number by number, which takes up to ten times as long as a full vector, and most sentences are that short.
So short rows are padded. The rule looks at the processor only, never at a timing.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_VECTOR_BYTES = {"AVX512": 64, "AVX2": 32}


def softmax(scores: Tensor) -> Tensor:
    """Return softmax over the last dimension, contiguous; any shape and floating type."""
    missing = _count_missing(scores)
    if not missing:
        return torch.softmax(scores, dim=-1)
    padded = functional.pad(scores, (0, missing), value=-torch.inf)
    return torch.softmax(padded, dim=-1)[..., : scores.size(-1)].contiguous()


def softmax_backward(grad: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of the scores, from that of the weights and the weights that `softmax` returned."""
    missing = _count_missing(weights)
    if not missing:
        return torch._softmax_backward_data(grad, weights, -1, weights.dtype)
    grad, padded = (functional.pad(x, (0, missing)) for x in (grad, weights))
    return torch._softmax_backward_data(grad, padded, -1, weights.dtype)[..., : weights.size(-1)].contiguous()


def _count_missing(x: Tensor) -> int:
    """Return how many numbers a row lacks to fill a vector."""
    return max(0, _vector_bytes() // x.element_size() - x.size(-1)) if x.device.type == "cpu" else 0


@cache
def _vector_bytes() -> int:
    """Return the length of this processor's vectors; 0 where it is not known."""
    capability = torch.backends.cpu.get_cpu_capability()
    return next((size for name, size in _VECTOR_BYTES.items() if capability.startswith(name)), 0)
