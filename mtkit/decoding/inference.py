"""How a model is run to translate or to score, be it one that was loaded for that or one that is being trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mtkit.decoding.ensemble import Ensemble
from mtkit.model.transformer import Transformer
from mtkit.runtime.device import InferencePrecision


@contextmanager
def inferring(model: Transformer | Ensemble, precision: InferencePrecision, device: torch.device) -> Iterator[None]:
    """Compute without gradients, in a precision, and in evaluation mode; a model that is being trained is put back.

    Args:
        model: On `device`.
        precision: As `resolve_inference_precision` returns it.
        device: Where the model lies.
    """
    # A model that is laid out for inference computes in its precision by itself; one in training does not.
    casts = precision == "bf16" and not model.is_prepared
    is_training = model.training
    if is_training:
        model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=casts):
            yield
    finally:
        if is_training:
            model.train()
