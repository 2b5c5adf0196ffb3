"""What a decoder remembers between steps. It is passed as an argument: never a hook, never module state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


class KVCache:
    """Keys and values of one layer's self-attention over the tokens decoded so far.

    The buffers are `(rows, num_heads, capacity, head_dim)` and double when full, so that a step writes one position
    instead of copying all.
    """

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of one more position, and return all: `(rows, num_heads, length, head_dim)`.

        Args:
            keys: `(rows, num_heads, 1, head_dim)`.
            values: The same.
        """
        if self._keys is None or self._values is None:
            self._keys, self._values = _allocate(keys, 16), _allocate(values, 16)
        elif self.length == self._keys.size(2):
            self._keys = torch.cat([self._keys, torch.empty_like(self._keys)], dim=2)
            self._values = torch.cat([self._values, torch.empty_like(self._values)], dim=2)
        self._keys[:, :, self.length : self.length + 1] = keys
        self._values[:, :, self.length : self.length + 1] = values
        self.length += 1
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def reorder(self, rows: Tensor) -> None:
        """Keep the rows of these indices, in this order: `(new_rows,)` int64. A row may be taken several times."""
        if self._keys is not None and self._values is not None:
            filled = slice(0, self.length)
            new_keys = self._keys.new_empty(len(rows), *self._keys.shape[1:])
            new_values = self._values.new_empty(len(rows), *self._values.shape[1:])
            new_keys[:, :, filled] = self._keys[:, :, filled].index_select(0, rows)
            new_values[:, :, filled] = self._values[:, :, filled].index_select(0, rows)
            self._keys, self._values = new_keys, new_values

    @property
    def cache_bytes(self) -> int:
        """Memory that the buffers take, in bytes."""
        return sum(t.nelement() * t.element_size() for t in (self._keys, self._values) if t is not None)


def _allocate(like: Tensor, capacity: int) -> Tensor:
    rows, num_heads, _, head_dim = like.shape
    return like.new_empty(rows, num_heads, capacity, head_dim)


@dataclass
class DecoderState:
    """The state of decoding a batch of sentences with the same number of hypotheses, `beam`, each.

    Rows are sentence-major: row `s * beam + b` is hypothesis `b` of sentence `s`. Keys and values of the source are
    held once a sentence, never once a hypothesis.

    Attributes:
        caches: The self-attention cache of each decoder layer.
        memory_keys_values: Of each decoder layer, keys and values over the source, both
            `(batch, num_heads, src_len, head_dim)`.
        memory_mask: `(batch, 1, 1, src_len)` bool, True where a source token may be attended.
        length: Number of tokens decoded so far.
    """

    caches: list[KVCache]
    memory_keys_values: list[tuple[Tensor, Tensor]]
    memory_mask: Tensor
    length: int = 0

    def reorder(self, rows: Tensor) -> None:
        """Let hypotheses continue from others of the same sentence: `(rows,)` int64 indices of rows."""
        for cache in self.caches:
            cache.reorder(rows)

    def keep_sentences(self, sentences: Tensor, rows: Tensor) -> None:
        """Drop all but some sentences from the batch.

        Args:
            sentences: `(new_batch,)` int64, the sentences that stay.
            rows: `(new_batch * beam,)` int64, the rows that their hypotheses continue from.
        """
        self.reorder(rows)
        self.memory_keys_values = [
            (keys.index_select(0, sentences), values.index_select(0, sentences))
            for keys, values in self.memory_keys_values
        ]
        self.memory_mask = self.memory_mask.index_select(0, sentences)
