"""How many tokens a device computes at once: the largest micro-batch that fits, found before the first update."""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd.graph import saved_tensors_hooks

from mtkit.corpus.batching import Batch, collate, read_pairs
from mtkit.errors import DeviceError
from mtkit.runtime.memory import available_memory, is_out_of_memory
from mtkit.training.parallel import TrainedModel
from mtkit.training.updates import UpdateReader

# Of the memory that is free on a CPU, the share that a micro-batch may be estimated to take: other processes come
# and go, and what is kept for the backward pass is most, but not all, of what a pass takes.
_SHARE_OF_FREE = 0.5
# Tokens of the two small batches whose difference shows what a token takes.
_TRIAL_TOKENS = 512
# Of a GPU's memory, the share that is kept free while sizes are tried.
_KEPT_FREE = 0.1


def fit_micro_batch(trained: TrainedModel, reader: UpdateReader) -> tuple[int, str]:
    """Return the tokens of the largest micro-batch that this process can compute, and how that was found.

    Tried or estimated with the longest sentences of the corpus, on which attention takes most. Sizes are the whole
    update's, halved until one fits.

    Raises:
        DeviceError: Not even the longest pair fits.
    """
    # A process takes its part of an update, rounded up to a whole pair; the longest may be longer than that.
    share = -(-trained.training.batch_tokens // trained.processes.count) + int(reader.longest.max())
    whole = min(trained.training.batch_tokens, share)
    if trained.device.type == "cuda" and trained.kind != "fsdp":
        return _try_sizes(trained, reader, whole), "the largest that fits, tried on the longest sentences"
    free = _free_memory(trained.device)
    if free is None:
        return whole, "the whole update: how much memory is free cannot be told"
    longest = int(reader.longest.max())
    try:
        per_token = bytes_per_token(trained, reader)
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        raise _longest_does_not_fit(longest, f"{free / 1e9:.1f} GB are free") from exc
    tokens = whole
    while tokens > 16 and tokens * per_token > _SHARE_OF_FREE * free:
        tokens //= 2
    needed = tokens * per_token / 1e9
    if tokens < whole and longest * per_token > _SHARE_OF_FREE * free:
        raise _longest_does_not_fit(longest, f"{free / 1e9:.1f} GB are free")
    return tokens, f"estimated at {needed:.1f} GB of {free / 1e9:.1f} GB free"


def _free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on the device; None where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory() if device.type == "cpu" else None


def bytes_per_token(trained: TrainedModel, reader: UpdateReader) -> float:
    """Return what a token more in a micro-batch takes: the bytes that are kept for the backward pass."""
    small, large = (_longest_batch(reader, tokens) for tokens in (_TRIAL_TOKENS, 2 * _TRIAL_TOKENS))
    more = _padded_tokens(large) - _padded_tokens(small)
    if more <= 0:  # a corpus of a few pairs
        return _kept_bytes(trained, large) / _padded_tokens(large)
    return max(1.0, (_kept_bytes(trained, large) - _kept_bytes(trained, small)) / more)


def _kept_bytes(trained: TrainedModel, batch: Batch) -> int:
    """Return how much a forward pass keeps for its backward pass, each storage counted once."""
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    trained.model.train()
    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = trained.compute_loss(batch)[0]
    del loss
    return sum(storages.values())


def _try_sizes(trained: TrainedModel, reader: UpdateReader, tokens: int) -> int:
    """Return the largest size that passes forward and backward with the optimizer's state beside it.

    Not for FSDP, whose processes take every pass together: one that runs out of memory would leave the others waiting.
    """
    longest = int(reader.longest.max())
    while not _passes(trained, _longest_batch(reader, tokens)):
        if tokens <= longest:
            raise _longest_does_not_fit(longest, f"the device is {trained.device}")
        tokens //= 2
    return tokens


def _passes(trained: TrainedModel, batch: Batch) -> bool:
    reserved = []
    try:
        moments = 2 + (trained.average is not None)
        reserved = [torch.empty_like(p) for p in trained.parameters for _ in range(moments)]
        total = torch.cuda.get_device_properties(trained.device).total_memory
        reserved.append(torch.empty(int(_KEPT_FREE * total), dtype=torch.uint8, device=trained.device))
        trained.backward(batch, is_last=False)  # nothing is added up: a sum that breaks off could not be begun again
    except torch.OutOfMemoryError:
        return False
    finally:
        reserved.clear()
        trained.zero_grad()
        torch.cuda.empty_cache()
    return True


def _longest_batch(reader: UpdateReader, tokens: int) -> Batch:
    """Return a batch of about `tokens` of the longest sentences."""
    longest = int(reader.longest.max())
    count = min(max(1, tokens // longest), len(reader.longest))
    rows = np.argpartition(-reader.longest, count - 1)[:count]
    return collate(read_pairs(reader.split, rows), reader.special)


def _padded_tokens(batch: Batch) -> int:
    return max(batch.src_ids.numel(), batch.tgt_out_ids.numel())


def no_pair_fits(message: str) -> DeviceError:
    """Return the error of a device too small for a single pair."""
    return DeviceError(
        message,
        at="training.micro_batch_tokens",
        fix="use a smaller model, --set training.activation_checkpointing=true, or drop long pairs in mtkit prepare",
    )


def _longest_does_not_fit(longest: int, where: str) -> DeviceError:
    return no_pair_fits(f"not even one pair of {longest:,} tokens fits into memory; {where}")
