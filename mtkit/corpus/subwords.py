"""Subword regularisation: training text segmented anew at each pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mtkit.corpus.tags import find_tag_ids
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.runtime.seeds import derive_seed

if TYPE_CHECKING:
    from mtkit.corpus.store import CorpusSplit, Ids, PreparedCorpus


class SubwordSampler:
    """Draws the segmentation of sentence pairs from their text, the tag kept before the source.

    What is drawn for a row is a function of the row and the seed alone, not of the rows beside it: a batch gives the
    same ids whole or in pieces. Drawn segmentations are longer than the stored ones: with bpe by a third at strength
    0.1, and nearly threefold at 0.5.

    Args:
        source: Of the source side.
        target: Of the target side.
        strength: As in `Tokenizer.sample`.
        tag_ids: The id that stands before the sources of a corpus, by the name of the corpus.
        max_tokens: Where a side that was drawn would be longer, tag included, the stored segmentation of that side is
            taken; None for no limit.
    """

    def __init__(
        self,
        source: Tokenizer,
        target: Tokenizer,
        strength: float,
        tag_ids: Mapping[str, int] | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.strength = strength
        self.tag_ids = tag_ids or {}
        self.max_tokens = max_tokens

    @classmethod
    def of(cls, corpus: PreparedCorpus, strength: float, max_tokens: int | None = None) -> SubwordSampler:
        """Return the sampler of a prepared corpus.

        Raises:
            ModelError: A tag of the corpus is no piece of its vocabulary.
        """
        tags = {name: known.tag for name, known in corpus.manifest.corpora.items()}
        tag_ids = find_tag_ids(tags, corpus.source_tokenizer, corpus.path)
        return cls(corpus.source_tokenizer, corpus.target_tokenizer, strength, tag_ids, max_tokens)

    def sample(self, split: CorpusSplit, rows: npt.NDArray[np.integer], seed: int) -> tuple[list[Ids], list[Ids]]:
        """Return the token ids of some rows, newly segmented, in the form of `CorpusSplit.token_ids`.

        Args:
            split: Where the rows are.
            rows: `(count,)` row numbers in any order.
            seed: Of the pass or the update. A row that stands twice comes out the same.
        """
        sources, targets = split.texts(rows)
        numbers = rows.tolist()
        source_ids = self.source.sample(sources, self.strength, [derive_seed(seed, "source", row) for row in numbers])
        target_ids = self.target.sample(targets, self.strength, [derive_seed(seed, "target", row) for row in numbers])
        if self.tag_ids:
            heads = [[self.tag_ids[name]] if name in self.tag_ids else [] for name in split.corpus_names]
            codes = split.corpus_codes[rows].tolist()
            source_ids = [heads[code] + ids for code, ids in zip(codes, source_ids, strict=True)]
        drawn = (_to_arrays(source_ids), _to_arrays(target_ids))
        if self.max_tokens is not None:
            for side, stored in zip(drawn, split.token_ids(rows), strict=True):
                side[:] = [kept if len(ids) > self.max_tokens else ids for ids, kept in zip(side, stored, strict=True)]
        return drawn


def _to_arrays(sequences: list[list[int]]) -> list[Ids]:
    return [np.array(ids, np.int32) for ids in sequences]
