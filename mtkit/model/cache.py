"""What a decoder remembers between steps. It is passed as an argument: never a hook, never module state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

# Up to this beam the hypotheses of a sentence share its cache, and a mask tells each which positions are its own. The
# arithmetic then grows with the square of the beam, so that wider beams copy their histories instead.
MAX_SHARED_BEAM = 8

# Positions of the source that attention sees at least, the rest of them ruled out: torch computes softmax over fewer
# number by number (`mtkit.model.softmax`).
FEWEST_POSITIONS = 16

# Attention sees slots of the cache by so many, the last of them ruled out while nothing is written there: so what it
# sees changes seldom, and softmax over fewer would be as slow.
SLOT_GROUP = 16

_FIRST_CAPACITY = SLOT_GROUP

# Every so many positions it is seen which slots of shared caches are still needed; the others are dropped if no more
# than this share is.
_COMPACT_EVERY = 8
_COMPACT_BELOW = 0.75


class LayerRoom(NamedTuple):
    """What one layer's self-attention finds at a position; see `KVCache.extend`.

    Attributes:
        newest: `(2, groups, num_heads, width, head_dim)`, where keys and values of the position are to be written.
        keys: `(groups * num_heads, head_dim, slots)`, all keys, those of the position included; behind them, up to a
            multiple of `SLOT_GROUP`, some that must not be attended.
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

    Attributes:
        width: As given.
        num_slots: Slots that hold something, a multiple of `width`.
        num_visible: Slots that attention sees: what is behind `num_slots` must not be attended.
    """

    def __init__(self, like: Tensor, groups: int, width: int = 1) -> None:
        self.width = width
        self.num_slots = self.num_visible = 0
        num_layers, _, _, num_heads, _, head_dim = like.shape
        shape = (2, groups, num_heads, _FIRST_CAPACITY * width, head_dim)
        self._layers = [_LayerBuffer(like.new_empty(shape), width) for _ in range(num_layers)]

    def extend(self) -> list[LayerRoom]:
        """Make room for one more position of each hypothesis, and return that of each layer."""
        start, self.num_slots = self.num_slots, self.num_slots + self.width
        capacity = self._layers[0].buffer.size(3)
        if self.num_slots > capacity:
            self._replace(lambda layer: layer.narrow(3, 0, start), capacity=2 * capacity)
        if self.num_slots > self.num_visible:
            self._show(count_visible(self.num_slots))
        position = start // self.width
        return [LayerRoom(layer.slots[position], layer.keys, layer.values) for layer in self._layers]

    def keep_groups(self, groups: Tensor) -> None:
        """Keep the groups of these indices, `(new_groups,)` int64, in this order. One may be taken several times."""
        self._replace(lambda layer: layer.narrow(3, 0, self.num_visible).index_select(1, groups))

    def keep_slots(self, slots: Tensor) -> None:
        """Keep of each group the slots of these indices, in this order.

        Args:
            slots: `(groups, new_slots)` int64; as many as a multiple of `width`.
        """
        groups = torch.arange(len(slots), device=slots.device).unsqueeze(1)
        for layer in self._layers:
            by_slot = layer.buffer.permute(1, 3, 0, 2, 4)
            kept = by_slot[groups, slots]  # (groups, new_slots, 2, num_heads, head_dim)
            layer.buffer.narrow(3, 0, slots.size(1)).copy_(kept.permute(2, 0, 3, 1, 4))
        self.num_slots = slots.size(1)
        self._show(count_visible(self.num_slots))

    @property
    def cache_bytes(self) -> int:
        """Memory that the buffers take, in bytes."""
        return sum(layer.buffer.nbytes for layer in self._layers)

    def _show(self, num_visible: int) -> None:
        """Let attention see so many slots."""
        for layer in self._layers:
            if num_visible > self.num_visible:  # what was in memory may be no number, and then no bias rules it out
                layer.buffer.narrow(3, self.num_visible, num_visible - self.num_visible).zero_()
            layer.show(num_visible)
        self.num_visible = num_visible

    def _replace(self, choose: Callable[[Tensor], Tensor], capacity: int | None = None) -> None:
        """Let each layer hold what is chosen of its buffer; in the buffer that it has, if that has the right size."""
        for number, layer in enumerate(self._layers):
            chosen = choose(layer.buffer)
            two, groups, num_heads, slots, head_dim = chosen.shape
            shape = (two, groups, num_heads, capacity or layer.buffer.size(3), head_dim)
            kept = layer if layer.buffer.shape == shape else _LayerBuffer(chosen.new_empty(shape), self.width)
            kept.buffer.narrow(3, 0, slots).copy_(chosen)
            kept.show(self.num_visible)
            self._layers[number] = kept


def count_visible(num_slots: int) -> int:
    """Return how many slots attention sees where so many hold something."""
    return math.ceil(num_slots / SLOT_GROUP) * SLOT_GROUP


class _LayerBuffer:
    """The buffer of a layer, and parts of it.

    Attributes:
        buffer: `(2, groups, num_heads, capacity, head_dim)`.
        slots: Of each position, its part, `(2, groups, num_heads, width, head_dim)`.
        keys: As `LayerRoom` has them; those that `show` chose.
        values: As the keys.
    """

    def __init__(self, buffer: Tensor, width: int) -> None:
        self.buffer = buffer
        self.slots = buffer.split(width, dim=3)  # type: ignore[no-untyped-call]
        self.show(0)

    def show(self, num_visible: int) -> None:
        """Let `keys` and `values` be the first so many."""
        self.keys, self.values = split(self.buffer.narrow(3, 0, num_visible))


def split(keys_values: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values of a layer as attention multiplies them; nothing is copied.

    Args:
        keys_values: `(2, batch, num_heads, length, head_dim)`.

    Returns:
        Keys, `(batch * num_heads, head_dim, length)`, and values, `(batch * num_heads, length, head_dim)`.
    """
    keys, values = keys_values.flatten(1, 2)
    return keys.mT, values


class DecoderParts(NamedTuple):
    """What a decoder does at a position, looked up once.

    Attributes:
        embed: Takes `(rows,)` token ids and their position, from 0; returns `(rows, d_model)`.
        layers: See `LayerStep` in `mtkit.model.layers`.
        project: Takes what the last layer returns; returns logits, `(rows, vocab)`.
    """

    embed: Callable[[Tensor, int], Tensor]
    layers: Sequence[Callable[..., Tensor]]
    project: Callable[[Tensor], Tensor]


@dataclass
class DecoderState:
    """The state of decoding a batch of sentences with the same number of hypotheses, `beam`, each.

    Rows are sentence-major: row `s * beam + b` is hypothesis `b` of sentence `s`. Keys and values of the source are
    held once a sentence, never once a hypothesis.

    Attributes:
        parts: What the decoder does.
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

    parts: DecoderParts
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
        self._own = _rule_out_others(width, self.memory.dtype, self.memory.device)
        self._written: Sequence[Tensor] = ()

    @property
    def is_shared(self) -> bool:
        """Whether the hypotheses of a sentence share its memory in the cache."""
        return self.cache.width > 1

    def extend(self) -> tuple[list[LayerRoom], Tensor]:
        """Begin the next position.

        Returns:
            The room of each layer, and what tells each hypothesis which slots are its own, the new one included, to be
            added to attention scores: `(batch * num_heads, beam, slots)`, or `(1, 1, slots)`.
        """
        self.length += 1
        rooms = self.cache.extend()
        end, num_visible = self.cache.num_slots, self.cache.num_visible
        if not self.is_shared:
            if end % SLOT_GROUP == 1:
                self._written = _rule_out_later(num_visible, self.memory.dtype, self.memory.device)
            return rooms, self._written[(end - 1) % SLOT_GROUP]
        if self.ancestry is None or num_visible > self.ancestry.size(2):
            longer = self.memory.new_full((self.memory.size(2), self.beam, 2 * num_visible), -torch.inf)
            if self.ancestry is not None:
                longer[:, :, : self.ancestry.size(2)] = self.ancestry
            self.ancestry = longer
        self.ancestry.narrow(2, end - self.beam, self.beam).copy_(self._own)
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
        kept = math.ceil(int(is_needed.sum(1).max()) / self.beam) * self.beam
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


@cache
def _rule_out_others(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what tells hypotheses which slot of a position is their own, `(width, width)`: 0 there, -inf elsewhere."""
    return torch.full((width, width), -torch.inf, dtype=dtype, device=device).fill_diagonal_(0)


@lru_cache(maxsize=64)
def _rule_out_later(num_visible: int, dtype: torch.dtype, device: torch.device) -> Sequence[Tensor]:
    """Return, for each of the last `SLOT_GROUP` slots, a bias that rules out those behind it: `(1, 1, num_visible)`."""
    biases = torch.full((SLOT_GROUP, num_visible), -torch.inf, dtype=dtype, device=device)
    return biases.triu_(num_visible - SLOT_GROUP + 1).view(SLOT_GROUP, 1, 1, num_visible).unbind()
