"""Text to token ids in bulk, as Arrow arrays."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from mtkit.corpus.store import build_schema
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.corpus.writer import SplitWriter


class Encoder:
    """Encodes chunks of pairs on several threads and hands them to a writer.

    Args:
        source: Of the source side.
        target: Of the target side.
        threads: CPU threads; None for all cores.
        tag_ids: The id that stands before the sources of a corpus, by the name of the corpus.
    """

    def __init__(
        self, source: Tokenizer, target: Tokenizer, threads: int | None, tag_ids: Mapping[str, int] | None = None
    ) -> None:
        self._source = source
        self._target = target
        self._threads = threads
        self._tag_ids = tag_ids or {}

    def write(self, writer: SplitWriter, batch: Any, max_tokens: int | None = None) -> int:
        """Encode pairs and write them.

        Args:
            writer: Where to.
            batch: Arrow record batch with `source`, `target` and `corpus`.
            max_tokens: Leave out pairs with a longer side, in tokens, the tag included.

        Returns:
            How many pairs were left out.
        """
        sources = self._source.encode(to_strings(batch["source"]), self._threads)
        source_ids = to_id_array(self._put_tags(sources, batch["corpus"]))
        target_ids = to_id_array(self._target.encode(to_strings(batch["target"]), self._threads))
        columns = [batch["source"], batch["target"], source_ids, target_ids, batch["corpus"]]
        encoded = pa.RecordBatch.from_arrays(columns, schema=build_schema())
        if max_tokens is not None:
            lengths = np.maximum(np.diff(source_ids.offsets.to_numpy()), np.diff(target_ids.offsets.to_numpy()))
            keep = lengths <= max_tokens
            if not keep.all():
                encoded = encoded.filter(pa.array(keep))
        writer.write(encoded)
        return len(batch) - len(encoded)

    def _put_tags(self, sources: list[list[int]], corpora: Any) -> list[list[int]]:
        """Return the token ids of sources with the tags of their corpora before them."""
        if not self._tag_ids:
            return sources
        heads = {name: [token_id] for name, token_id in self._tag_ids.items()}
        return [heads.get(name, []) + ids for name, ids in zip(to_strings(corpora), sources, strict=True)]


def to_id_array(ids: list[list[int]]) -> Any:
    """Return lists of token ids as an Arrow list array of int32."""
    offsets = np.zeros(len(ids) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, ids), np.int32, len(ids)), out=offsets[1:])
    values = np.fromiter(chain.from_iterable(ids), np.int32, int(offsets[-1]))
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def to_strings(array: Any) -> list[str]:
    """Return an Arrow string array as a list; faster than `to_pylist`."""
    return array.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
