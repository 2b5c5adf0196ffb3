"""Reads `pytorch_model.bin`, a pickle, through torch's restricted loader: tensors and containers, and nothing else.

Many published models have no other file of weights. This is the only place in mtkit where such a file is read, and only
to convert it, because a person said so.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor

from mtkit.errors import ModelError


def read_pickled_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `pytorch_model.bin`.

    Raises:
        ModelError: It is damaged, or holds anything else than tensors by name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles; what they hold is checked
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        raise ModelError(
            "the file asks for more than tensors, and was not loaded",
            at=path,
            fix="do not trust it: take the model from another place, as safetensors",
        ) from exc
    except Exception as exc:  # the restricted loader lets out whatever a damaged file leads it to
        raise ModelError("the file of weights is damaged", at=path, fix="copy it again, whole") from exc
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise ModelError(
            "the file holds something else than tensors by name", at=path, fix="give the weights of a Marian model"
        )
    return dict(found)
