"""From a prepared corpus to batches of ids: bucketed by length, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtkit.runtime.seeds import derive_seed

if TYPE_CHECKING:
    import torch

    from mtkit.corpus.store import CorpusSplit, Ids
    from mtkit.corpus.subwords import SubwordSampler

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Sentence pairs as padded ids.

    Attributes:
        src_ids: `(batch, src_len)` int64, EOS included, padded behind.
        tgt_in_ids: `(batch, tgt_len)` int64, what the decoder is given: the start id, then the target.
        tgt_out_ids: `(batch, tgt_len)` int64, what it should answer: the target, then EOS.
        tgt_places: `(num_tokens,)` int64, where in the flattened `tgt_out_ids` no padding stands.
        num_tokens: Target tokens, EOS included, padding not.
        rows: Which pairs of the corpus these are.
    """

    src_ids: torch.Tensor
    tgt_in_ids: torch.Tensor
    tgt_out_ids: torch.Tensor
    tgt_places: torch.Tensor
    num_tokens: int
    rows: Rows

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the forward pass takes: source, decoder input and output, and the places of real target tokens."""
        return self.src_ids, self.tgt_in_ids, self.tgt_out_ids, self.tgt_places

    def pin(self) -> Batch:
        """Return the batch in memory that a GPU can fetch from by itself."""
        src_ids, tgt_in_ids, tgt_out_ids, tgt_places = (tensor.pin_memory() for tensor in self.tensors)
        return Batch(src_ids, tgt_in_ids, tgt_out_ids, tgt_places, self.num_tokens, self.rows)


@dataclass(frozen=True)
class Pairs:
    """Some pairs of a corpus as token ids, without EOS.

    Attributes:
        rows: `(count,)`, which pairs of the corpus these are.
        sources: `(src_len,)` int32 each.
        targets: `(tgt_len,)` int32 each.
    """

    rows: Rows
    sources: list[Ids]
    targets: list[Ids]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def longest(self) -> NDArray[np.int64]:
        """The longer side of each pair in tokens, EOS included: `(count,)`."""
        longer = [max(len(s), len(t)) for s, t in zip(self.sources, self.targets, strict=True)]
        return np.array(longer, np.int64) + 1

    def split(self, micro_batch_tokens: int | None) -> list[Pairs]:
        """Return the pairs in parts of at most so many tokens each, as `split_batch`; none for no pairs."""
        if not len(self):
            return []
        parts = split_batch(np.arange(len(self)), self.longest, micro_batch_tokens)
        return [self._take(part) for part in parts]

    def _take(self, places: Rows) -> Pairs:
        numbers = places.tolist()
        return Pairs(self.rows[places], [self.sources[i] for i in numbers], [self.targets[i] for i in numbers])


@dataclass(frozen=True)
class SpecialIds:
    """The ids that a batch is built with."""

    pad_id: int
    eos_id: int
    decoder_start_id: int


def plan_batches(
    source_lengths: NDArray[np.int32],
    target_lengths: NDArray[np.int32],
    batch_tokens: int,
    seed: int,
    epoch: int,
    rows: Rows | None = None,
) -> list[Rows]:
    """Return the batches of one epoch, each as the rows of the corpus that it holds.

    Pairs of like length share a batch, so that little of it is padding; which of them meet, and the order of the
    batches, is drawn anew each epoch. A batch holds at most `batch_tokens` = rows x longest side, EOS included; a
    single pair longer than that is a batch of its own.

    Args:
        source_lengths: Tokens of each pair's source, EOS excluded.
        target_lengths: The same of the target.
        batch_tokens: Limit of a batch.
        seed: The run's seed.
        epoch: 0-based.
        rows: `(count,)`, which rows to batch, some perhaps several times; None for each row once.
    """
    if rows is not None:
        places = plan_batches(source_lengths[rows], target_lengths[rows], batch_tokens, seed, epoch)
        return [rows[batch] for batch in places]
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "order", epoch)))
    source = source_lengths.astype(np.int64) + 1
    target = target_lengths.astype(np.int64) + 1
    longest = np.maximum(source, target)
    # Sorted by the longer side, then by which side that is and how much longer, give or take one. Every other length
    # runs backwards: a batch with pairs of two lengths then holds the ends of both that are alike. Which ones do, and
    # the give and take, are drawn, so that not always the same pairs meet.
    runs_backwards = (longest + generator.integers(2)) % 2 == 0
    surplus = np.where(runs_backwards, target - source, source - target)
    order = np.lexsort((surplus + generator.uniform(-1, 1, len(longest)), longest))
    batches = _cut(order, longest[order], batch_tokens)
    generator.shuffle(batches)
    return batches


def split_batch(rows: Rows, longest: NDArray[np.int64], micro_batch_tokens: int | None) -> list[Rows]:
    """Split the rows of a batch into micro-batches of at most `micro_batch_tokens` each.

    Args:
        rows: `(batch,)`.
        longest: `(batch,)`, the longer side of each row in tokens, EOS included.
        micro_batch_tokens: None for one micro-batch.
    """
    if micro_batch_tokens is None:
        return [rows]
    order = np.argsort(longest, kind="stable")
    return _cut(rows[order], longest[order], micro_batch_tokens)


def _cut(rows: Rows, longest: NDArray[np.int64], limit: int) -> list[Rows]:
    """Cut rows, sorted by length, into runs of at most `limit` padded tokens."""
    batches = []
    start = 0
    while start < len(rows):
        # `longest` rises, so rows x longest rises with the end: find the last end within the limit.
        reach = min(len(rows) - start, limit // int(longest[start]) + 1)
        padded = longest[start : start + reach] * np.arange(1, reach + 1)
        count = max(1, int(np.searchsorted(padded, limit, side="right")))
        batches.append(rows[start : start + count])
        start += count
    return batches


def read_pairs(split: CorpusSplit, rows: Rows, sampler: SubwordSampler | None = None, seed: int = 0) -> Pairs:
    """Read pairs of a prepared corpus.

    Args:
        split: Where the pairs are.
        rows: `(count,)`, which of them.
        sampler: Segments the text anew; None for the segmentation that is stored.
        seed: What the sampler draws with.
    """
    sources, targets = split.token_ids(rows) if sampler is None else sampler.sample(split, rows, seed)
    return Pairs(rows, sources, targets)


def collate(pairs: Pairs, special: SpecialIds) -> Batch:
    """Return pairs as a padded batch.

    Args:
        pairs: At least one.
        special: The ids of padding, end of sentence and start.
    """
    import torch

    src_ids = _pad(pairs.sources, special.pad_id, 1)
    src_lengths = [len(ids) for ids in pairs.sources]
    src_ids[np.arange(len(pairs)), src_lengths] = special.eos_id
    tgt_out_ids = _pad(pairs.targets, special.pad_id, 1)
    tgt_lengths = np.array([len(ids) for ids in pairs.targets])
    tgt_out_ids[np.arange(len(pairs)), tgt_lengths] = special.eos_id
    tgt_in_ids = np.roll(tgt_out_ids, 1, axis=1)
    tgt_in_ids[:, 0] = special.decoder_start_id
    tgt_in_ids[tgt_out_ids == special.pad_id] = special.pad_id
    return Batch(
        torch.from_numpy(src_ids),
        torch.from_numpy(tgt_in_ids),
        torch.from_numpy(tgt_out_ids),
        torch.from_numpy(np.flatnonzero(tgt_out_ids != special.pad_id)),
        int(tgt_lengths.sum()) + len(pairs),
        pairs.rows,
    )


def _pad(sequences: list[NDArray[np.int32]], pad_id: int, room: int) -> NDArray[np.int64]:
    """Stack sequences as `(batch, longest + room)`, filled with `pad_id` behind."""
    padded = np.full((len(sequences), max(map(len, sequences)) + room), pad_id, dtype=np.int64)
    for row, ids in enumerate(sequences):
        padded[row, : len(ids)] = ids
    return padded
