"""The mean of several checkpoints' weights (Vaswani et al. 2017, section 6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.checkpoint.weights import read_tensors
from mtkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


def average_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights in several safetensors files of one model, summed in float64.

    Raises:
        ModelError: A file is missing or damaged, or the files are of different models.
    """
    total: dict[str, Tensor] = {}
    for path in paths:
        tensors = read_tensors(path)
        if total and {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in total.items()}:
            raise ModelError(
                "weights of different models cannot be averaged", at=path, fix="name checkpoints of one run"
            )
        for name, tensor in tensors.items():
            total[name] = total[name] + tensor.double() if name in total else tensor.double()
    return {name: (tensor / len(paths)).float() for name, tensor in total.items()}
