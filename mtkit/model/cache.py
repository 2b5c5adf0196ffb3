"""What a decoder remembers between steps. It is passed as an argument: never a hook, never module state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Up to this beam the hypotheses of a sentence share its cache, and a mask tells each which positions are its own. The
# arithmetic then grows with the square of the beam, so that wider beams copy their histories instead.
MAX_SHARED_BEAM = 8

_FIRST_CAPACITY = 16

# Every so many positions it is seen which slots of shared caches are still needed; the others are dropped if no more
# than this share is.
_COMPACT_EVERY = 4
_COMPACT_BELOW = 0.75


class KVCache:
    """Keys and values of one layer's self-attention over the tokens decoded so far.

    A group of `width` hypotheses shares one memory: each position takes a slot of each hypothesis, and what was written
    does not move when hypotheses continue from others. One buffer, `(2, groups, num_heads, capacity, head_dim)`, holds
    keys and values; it doubles when full, so that a step writes one position instead of copying all.

    Args:
        width: Hypotheses that share a memory.
    """

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.num_slots = 0
        self._buffer: Tensor | None = None

    def append(self, keys_values: Tensor) -> tuple[Tensor, Tensor]:
        """Add one more position of each hypothesis, and return all keys and all values.

        Args:
            keys_values: `(groups, width, 2, num_heads, head_dim)`, or `(groups, 1, …)` if those of a group are alike.

        Returns:
            Keys and values, both `(groups, num_heads, num_slots, head_dim)`.
        """
        start, end = self.num_slots, self.num_slots + self.width
        new = keys_values.permute(2, 0, 3, 1, 4)  # (2, groups, num_heads, width, head_dim)
        if new.size(3) < self.width:
            new = new.expand(-1, -1, -1, self.width, -1)
        if self._buffer is None:
            self._buffer = _allocate(new, _FIRST_CAPACITY * self.width)
        elif end > self._buffer.size(3):
            grown = _allocate(new, 2 * self._buffer.size(3))
            grown[:, :, :, :start] = self._buffer[:, :, :, :start]
            self._buffer = grown
        self._buffer[:, :, :, start:end] = new
        self.num_slots = end
        keys, values = self._buffer[:, :, :, :end].unbind()
        return keys, values

    def keep_groups(self, groups: Tensor) -> None:
        """Keep the groups of these indices, `(new_groups,)` int64, in this order. One may be taken several times."""
        if self._buffer is not None:
            filled = self._buffer[:, :, :, : self.num_slots]
            self._replace(filled.index_select(1, groups))

    def keep_slots(self, slots: Tensor) -> None:
        """Keep of each group the slots of these indices, `(groups, new_slots)` int64, in this order."""
        if self._buffer is not None:
            groups = torch.arange(len(slots), device=slots.device).unsqueeze(1)
            kept = self._buffer.permute(1, 3, 0, 2, 4)[groups, slots]  # (groups, new_slots, 2, num_heads, head_dim)
            self._replace(kept.permute(2, 0, 3, 1, 4))

    def _replace(self, filled: Tensor) -> None:
        """Take what is given, `(2, groups, num_heads, slots, head_dim)`, for all that was written so far."""
        assert self._buffer is not None
        capacity, self.num_slots = self._buffer.size(3), filled.size(3)
        self._buffer = _allocate(filled, capacity)
        self._buffer[:, :, :, : self.num_slots] = filled

    @property
    def cache_bytes(self) -> int:
        """Memory that the buffer takes, in bytes."""
        return 0 if self._buffer is None else self._buffer.nbytes


def _allocate(like: Tensor, capacity: int) -> Tensor:
    two, groups, num_heads, _, head_dim = like.shape
    return like.new_empty(two, groups, num_heads, capacity, head_dim)


@dataclass
class DecoderState:
    """The state of decoding a batch of sentences with the same number of hypotheses, `beam`, each.

    Rows are sentence-major: row `s * beam + b` is hypothesis `b` of sentence `s`. Keys and values of the source are
    held once a sentence, never once a hypothesis.

    Attributes:
        steps: What each decoder layer does at a position (`DecoderLayer.build_step`).
        last_norm: The norm behind the last layer.
        caches: The self-attention cache of each decoder layer.
        memory_keys_values: Of each decoder layer, keys and values over the source, both
            `(batch, num_heads, src_len, head_dim)`.
        memory_bias: `(batch, 1, 1, src_len)`, 0 where a source token may be attended and -inf elsewhere; None if all
            may be.
        beam: Hypotheses of a sentence.
        ancestry: `(batch, beam, capacity)`, 0 where a hypothesis may attend a slot of its sentence's caches and -inf
            where another one wrote it; None where hypotheses share no cache.
        length: Number of tokens decoded so far.
    """

    steps: Sequence[Callable[..., Tensor]]
    last_norm: Callable[[Tensor], Tensor]
    caches: list[KVCache]
    memory_keys_values: list[tuple[Tensor, Tensor]]
    memory_bias: Tensor | None
    beam: int = 1
    ancestry: Tensor | None = None
    length: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether the hypotheses of a sentence share its caches."""
        return self.caches[0].width > 1

    def extend(self) -> Tensor | None:
        """Begin the next position; return what tells each hypothesis which slots are its own.

        Returns:
            `(batch, 1, beam, slots)`, the new position's included, to be added to attention scores; None where all are.
        """
        self.length += 1
        if not self.is_shared:
            return None
        start = self.caches[0].num_slots
        end = start + self.beam
        if self.ancestry is None or end > self.ancestry.size(2):
            batch, device = len(self.memory_keys_values[0][0]), self.memory_keys_values[0][0].device
            longer = torch.full((batch, self.beam, 2 * end + 14 * self.beam), -torch.inf, device=device)
            if self.ancestry is not None:
                longer[:, :, :start] = self.ancestry[:, :, :start]
            self.ancestry = longer
        newest = self.ancestry[:, :, start:end]
        newest.fill_(-torch.inf).diagonal(dim1=1, dim2=2).zero_()
        return self.ancestry[:, None, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Let hypotheses continue from others of the same sentence: `(rows,)` int64 indices of rows."""
        if self.ancestry is None:
            for cache in self.caches:
                cache.keep_groups(rows)
            return
        self.ancestry = self.ancestry.flatten(0, 1).index_select(0, rows).view_as(self.ancestry)
        if self.length % _COMPACT_EVERY == 0:
            self._compact()

    def _compact(self) -> None:
        """Drop the slots that no hypothesis goes back to: of a beam of four, after a while, half of them."""
        assert self.ancestry is not None
        num_slots = self.caches[0].num_slots
        is_needed = (self.ancestry[:, :, :num_slots] == 0).any(1)  # (batch, slots)
        kept = int(is_needed.sum(1).max())
        if kept > _COMPACT_BELOW * num_slots:
            return
        # The needed ones first, in their order; where a sentence has fewer than others, some that nobody attends.
        slots = is_needed.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :kept]
        for cache in self.caches:
            cache.keep_slots(slots)
        self.ancestry[:, :, :kept] = self.ancestry.gather(2, slots.unsqueeze(1).expand(-1, self.beam, -1))

    def keep_sentences(self, sentences: Tensor) -> None:
        """Drop all but some sentences from the batch: `(new_batch,)` int64 indices; they keep all their rows."""
        groups = sentences
        if not self.is_shared:
            first_rows = sentences.unsqueeze(1) * self.beam
            groups = (first_rows + torch.arange(self.beam, device=sentences.device)).flatten()
        for cache in self.caches:
            cache.keep_groups(groups)
        self.memory_keys_values = [
            (keys.index_select(0, sentences), values.index_select(0, sentences))
            for keys, values in self.memory_keys_values
        ]
        if self.memory_bias is not None:
            self.memory_bias = self.memory_bias.index_select(0, sentences)
        if self.ancestry is not None:
            self.ancestry = self.ancestry.index_select(0, sentences)
