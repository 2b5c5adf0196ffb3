"""How a model is run to translate or to score, be it one that was loaded for that or one that is being trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mtkit.checkpoint.model_folder import LoadedModel, load_model
from mtkit.decoding.ensemble import Ensemble
from mtkit.model.packed import prepare_for_inference
from mtkit.model.transformer import Transformer
from mtkit.runtime.device import (
    DeviceName,
    InferencePrecision,
    call_in_thread,
    resolve_device,
    resolve_inference_precision,
    set_threads,
)


def load_for_inference(
    path: str | Path, device: DeviceName, precision: Literal["auto"] | InferencePrecision, threads: int | None
) -> LoadedModel:
    """Load a model folder, or the best model so far of a run folder, laid out for translation.

    Args:
        path: The folder.
        device: Where to compute; `auto` takes a GPU if there is one.
        precision: `decoding.precision`.
        threads: CPU threads; None for all cores.

    Raises:
        ModelError: There is no model, or it is damaged.
        DeviceError: The device is absent, or cannot compute in this precision.
    """
    set_threads(threads)
    place = resolve_device(device)
    if place.type == "cpu":
        return call_in_thread(_load, path, place, precision)  # any thread may translate
    return _load(path, place, precision)


def _load(path: str | Path, place: torch.device, precision: Literal["auto"] | InferencePrecision) -> LoadedModel:
    resolved = resolve_inference_precision(precision, place)
    loaded = load_model(path, place)
    prepare_for_inference(loaded.model, resolved)
    return loaded


def pad_ids(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Tensor:
    """Return token ids as a model takes them: `(batch, longest)` int64, padded behind."""
    tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=pad_id).to(device)


@contextmanager
def inferring(model: Transformer | Ensemble, precision: InferencePrecision) -> Iterator[None]:
    """Compute without gradients, in a precision, and in evaluation mode; a model that is being trained is put back.

    Args:
        model: One, or an ensemble.
        precision: As `resolve_inference_precision` returns it.
    """
    # A model that is laid out for inference computes in its precision by itself; one in training does not.
    casts = precision == "bf16" and not model.is_prepared
    is_training = model.training
    if is_training:
        model.eval()
    try:
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=casts):
            yield
    finally:
        if is_training:
            model.train()
