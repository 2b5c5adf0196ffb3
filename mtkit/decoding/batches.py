"""Batches of like lengths: cut, and computed in halves where one is too large for the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import torch

from mtkit.config.decoding import DecodingSection
from mtkit.errors import DeviceError
from mtkit.runtime.memory import is_out_of_memory

# So many batches of lines are read ahead, sorted by length and computed together.
WINDOW_BATCHES = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item]):
    """Cuts items into batches and has them computed.

    A batch that is too large for the memory is computed in halves, and later ones are cut to half its tokens.

    Args:
        decoding: How large a batch may be: `batch_size` and `batch_tokens`.
        device: Where it is computed.
        lengths: Returns the length of each side of an item, in tokens. All sides of a batch count as padded to the
            longest one.
        name: What an item is called: "sentence".
        fix: What to do if a single item is too large.
    """

    def __init__(
        self,
        decoding: DecodingSection,
        device: torch.device,
        lengths: Callable[[Item], tuple[int, ...]],
        *,
        name: str,
        fix: str,
    ) -> None:
        self._batch_size = decoding.batch_size
        self._batch_tokens = decoding.batch_tokens
        self._device = device
        self._lengths = lengths
        self._name = name
        self._fix = fix

    def cut(self, items: Iterable[Item]) -> list[list[Item]]:
        """Return the items in batches, the longest first, so that what does not fit in memory shows at once.

        They are sorted by their last side, then by the one before it.
        """
        batches: list[list[Item]] = []
        longest = 0
        for item in sorted(items, key=lambda item: self._lengths(item)[::-1], reverse=True):
            length = max(self._lengths(item))
            longest = max(longest, length)
            rows = len(batches[-1]) if batches else self._batch_size
            if rows < self._batch_size and (rows + 1) * longest <= self._batch_tokens:
                batches[-1].append(item)
            else:
                batches.append([item])
                longest = length
        return batches

    def run(self, compute: Callable[[Sequence[Item]], Sequence[Result]], batch: Sequence[Item]) -> list[Result]:
        """Return what is computed from each item of a batch, in order; threads may call this side by side.

        Args:
            compute: Returns the results of some items, as many as these.
            batch: From `cut`.

        Raises:
            DeviceError: The memory does not suffice for a single item.
        """
        num_tokens = len(batch) * max(max(self._lengths(item)) for item in batch)
        if len(batch) == 1 or num_tokens <= self._batch_tokens:
            try:
                return list(compute(batch))
            except (RuntimeError, MemoryError) as exc:
                if not is_out_of_memory(exc):
                    raise
                if len(batch) == 1:
                    raise self._refuse(batch[0]) from exc
            # Out of the block above, so that what was computed is free.
            self._batch_tokens = min(self._batch_tokens, num_tokens // 2)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        half = len(batch) // 2
        return self.run(compute, batch[:half]) + self.run(compute, batch[half:])

    def _refuse(self, item: Item) -> DeviceError:
        lengths = " and ".join(f"{length:,}" for length in self._lengths(item))
        message = f"out of memory with a single {self._name} of {lengths} tokens"
        return DeviceError(message, at=self._device.type, fix=self._fix)
