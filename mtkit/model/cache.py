"""What a decoder remembers between steps. It is passed as an argument: never a hook, never module state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

# Up to this beam the hypotheses of a sentence share its cache, and a mask tells each which positions are its own. The
# arithmetic then grows with the square of the beam, so that wider beams copy their histories instead.
MAX_SHARED_BEAM = 8

_FIRST_CAPACITY = 16

# Positions that attention sees at least, the rest of them ruled out: torch computes softmax over fewer number by number
# (`mtkit.model.softmax`).
FEWEST_POSITIONS = 16

# Every so many positions it is seen which slots of shared caches are still needed; the others are dropped if no more
# than this share is.
_COMPACT_EVERY = 8
_COMPACT_BELOW = 0.75


class LayerRoom(NamedTuple):
    """What one layer's self-attention finds at a position; see `KVCache.extend`.

    Attributes:
        newest: `(2, groups, num_heads, width, head_dim)`, where keys and values of the position are to be written.
        keys: `(groups * num_heads, head_dim, slots)`, all keys, those of the position included; behind them, up to
            `FEWEST_POSITIONS` in all, some that must not be attended.
        values: `(groups * num_heads, slots, head_dim)`, all values, as the keys.
    """

    newest: Tensor
    keys: Tensor
    values: Tensor


class KVCache:
    """Keys and values of the self-attention of all layers over the tokens decoded so far.

    A group of `width` hypotheses shares one memory: each position takes a slot of each hypothesis, and what was written
    does not move when hypotheses continue from others. A buffer for each layer, `(2, groups, num_heads, capacity,
    head_dim)`, holds keys and values; it doubles when full, so that a step writes one position instead of copying all.
    Whatever replaces buffers does so layer by layer: never are there two of more than one layer.

    Args:
        like: Keys and values of the source, `(num_layers, 2, batch, num_heads, positions, head_dim)`.
        groups: Hypotheses, or sentences, that share no memory.
        width: Hypotheses that share one.
    """

    def __init__(self, like: Tensor, groups: int, width: int = 1) -> None:
        self.width = width
        self.num_slots = 0
        num_layers, _, _, num_heads, _, head_dim = like.shape
        shape = (2, groups, num_heads, _FIRST_CAPACITY * width, head_dim)
        self._layers = [_LayerBuffer(like.new_empty(shape)) for _ in range(num_layers)]
        for layer in self._layers:
            layer.buffer.narrow(3, 0, self.num_visible).zero_()

    @property
    def num_visible(self) -> int:
        """Slots that attention sees: what is behind `num_slots` must not be attended."""
        return max(self.num_slots, FEWEST_POSITIONS)

    def extend(self) -> list[LayerRoom]:
        """Make room for one more position of each hypothesis, and return that of each layer."""
        start, self.num_slots = self.num_slots, self.num_slots + self.width
        capacity = self._layers[0].buffer.size(3)
        if self.num_slots > capacity:
            self._replace(lambda layer: layer.narrow(3, 0, start), capacity=2 * capacity)
        num_visible = self.num_visible
        return [
            LayerRoom(
                layer.buffer.narrow(3, start, self.width),
                layer.keys.narrow(2, 0, num_visible),
                layer.values.narrow(1, 0, num_visible),
            )
            for layer in self._layers
        ]

    def keep_groups(self, groups: Tensor) -> None:
        """Keep the groups of these indices, `(new_groups,)` int64, in this order. One may be taken several times."""
        self._replace(lambda layer: layer.narrow(3, 0, self.num_visible).index_select(1, groups))

    def keep_slots(self, slots: Tensor) -> None:
        """Keep of each group the slots of these indices, `(groups, new_slots)` int64, in this order."""
        groups = torch.arange(len(slots), device=slots.device).unsqueeze(1)
        for layer in self._layers:
            by_slot = layer.buffer.permute(1, 3, 0, 2, 4)
            kept = by_slot[groups, slots]  # (groups, new_slots, 2, num_heads, head_dim)
            layer.buffer.narrow(3, 0, slots.size(1)).copy_(kept.permute(2, 0, 3, 1, 4))
        self.num_slots = slots.size(1)

    @property
    def cache_bytes(self) -> int:
        """Memory that the buffers take, in bytes."""
        return sum(layer.buffer.nbytes for layer in self._layers)

    def _replace(self, choose: Callable[[Tensor], Tensor], capacity: int | None = None) -> None:
        """Let each layer hold what is chosen of its buffer; in the buffer that it has, if that has the right size."""
        for number, layer in enumerate(self._layers):
            chosen = choose(layer.buffer)
            two, groups, num_heads, slots, head_dim = chosen.shape
            shape = (two, groups, num_heads, capacity or layer.buffer.size(3), head_dim)
            kept = layer if layer.buffer.shape == shape else _LayerBuffer(chosen.new_empty(shape))
            kept.buffer.narrow(3, 0, slots).copy_(chosen)
            self._layers[number] = kept


class _LayerBuffer:
    """The buffer of a layer, and its keys and values as `LayerRoom` has them."""

    def __init__(self, buffer: Tensor) -> None:
        self.buffer = buffer
        self.keys, self.values = split(buffer)


def split(keys_values: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values of a layer as attention multiplies them; nothing is copied.

    Args:
        keys_values: `(2, batch, num_heads, length, head_dim)`.

    Returns:
        Keys, `(batch * num_heads, head_dim, length)`, and values, `(batch * num_heads, length, head_dim)`.
    """
    keys, values = keys_values.flatten(1, 2)
    return keys.mT, values


@dataclass
class DecoderState:
    """The state of decoding a batch of sentences with the same number of hypotheses, `beam`, each.

    Rows are sentence-major: row `s * beam + b` is hypothesis `b` of sentence `s`. Keys and values of the source are
    held once a sentence, never once a hypothesis.

    Attributes:
        steps: What each decoder layer does at a position (`DecoderLayer.build_step`).
        last_norm: The norm behind the last layer.
        memory: Keys and values of the source, `(num_layers, 2, batch, num_heads, positions, head_dim)`.
        memory_bias: `(batch * num_heads, 1, positions)`, 0 where a source token may be attended and -inf elsewhere;
            None if all may be.
        beam: Hypotheses of a sentence.
        cache: Of the self-attention.
        memory_parts: Keys and values of each layer, as `split` returns them.
        ancestry: `(batch, beam, capacity)`, 0 where a hypothesis may attend a slot of its sentence's cache and -inf
            where another one wrote it, or none; None where hypotheses share no cache, and at first.
        length: Number of tokens decoded so far.
    """

    steps: Sequence[Callable[..., Tensor]]
    last_norm: Callable[[Tensor], Tensor]
    memory: Tensor
    memory_bias: Tensor | None
    beam: int = 1
    ancestry: Tensor | None = None
    length: int = 0
    cache: KVCache = field(init=False)
    memory_parts: list[tuple[Tensor, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        width = self.beam if self.beam <= MAX_SHARED_BEAM else 1
        self.cache = KVCache(self.memory, self.memory.size(2) * self.beam // width, width)
        self.memory_parts = [split(layer) for layer in self.memory]
        self._written = self.memory.new_full((1, 1, FEWEST_POSITIONS), -torch.inf)

    @property
    def is_shared(self) -> bool:
        """Whether the hypotheses of a sentence share its memory in the cache."""
        return self.cache.width > 1

    def extend(self) -> tuple[list[LayerRoom], Tensor | None]:
        """Begin the next position.

        Returns:
            The room of each layer, and what tells each hypothesis which slots are its own, the new one included, to be
            added to attention scores: `(batch * num_heads, beam, slots)`, or `(1, 1, slots)`; None where all are.
        """
        self.length += 1
        rooms = self.cache.extend()
        end, num_visible = self.cache.num_slots, self.cache.num_visible
        if not self.is_shared:
            if end < num_visible:
                self._written.narrow(2, end - 1, 1).zero_()
            return rooms, self._written if end < num_visible else None
        start = end - self.beam
        if self.ancestry is None or end > self.ancestry.size(2):
            longer = self.memory.new_full((self.memory.size(2), self.beam, 2 * end + 14 * self.beam), -torch.inf)
            if self.ancestry is not None:
                longer[:, :, :start] = self.ancestry[:, :, :start]
            self.ancestry = longer
        self.ancestry.narrow(2, start, self.beam).fill_(-torch.inf).diagonal(dim1=1, dim2=2).zero_()
        return rooms, repeat_for_heads(self.ancestry.narrow(2, 0, num_visible), self.memory.size(3))

    def reorder(self, rows: Tensor) -> None:
        """Let hypotheses continue from others of the same sentence: `(rows,)` int64 indices of rows."""
        if self.ancestry is None:
            self.cache.keep_groups(rows)
            return
        self.ancestry = self.ancestry.flatten(0, 1).index_select(0, rows).view_as(self.ancestry)
        if self.length % _COMPACT_EVERY == 0:
            self._compact()

    def _compact(self) -> None:
        """Drop the slots that no hypothesis goes back to: of a beam of four, after a while, half of them."""
        assert self.ancestry is not None
        num_slots = self.cache.num_slots
        is_needed = (self.ancestry[:, :, :num_slots] == 0).any(1)  # (batch, slots)
        kept = int(is_needed.sum(1).max())
        if kept > _COMPACT_BELOW * num_slots:
            return
        # The needed ones first, in their order; where a sentence has fewer than others, some that nobody attends.
        slots = is_needed.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :kept]
        self.cache.keep_slots(slots)
        self.ancestry[:, :, :kept] = self.ancestry.gather(2, slots.unsqueeze(1).expand(-1, self.beam, -1))
        self.ancestry[:, :, kept:num_slots] = -torch.inf

    def keep_sentences(self, sentences: Tensor) -> None:
        """Drop all but some sentences from the batch: `(new_batch,)` int64 indices; they keep all their rows."""
        groups = sentences
        if not self.is_shared:
            first_rows = sentences.unsqueeze(1) * self.beam
            groups = (first_rows + torch.arange(self.beam, device=sentences.device)).flatten()
        self.cache.keep_groups(groups)
        batch, num_heads = self.memory.shape[2:4]
        self.memory = self.memory.index_select(2, sentences)
        self.memory_parts = [split(layer) for layer in self.memory]
        if self.memory_bias is not None:
            by_sentence = self.memory_bias.view(batch, num_heads, -1)
            self.memory_bias = by_sentence.index_select(0, sentences).view(len(sentences) * num_heads, 1, -1)
        if self.ancestry is not None:
            self.ancestry = self.ancestry.index_select(0, sentences)


def repeat_for_heads(bias: Tensor, num_heads: int) -> Tensor:
    """Return what is added to attention scores for each head: `(batch, a, b)` to `(batch * num_heads, a, b)`."""
    return bias.unsqueeze(1).expand(-1, num_heads, -1, -1).flatten(0, 1)
