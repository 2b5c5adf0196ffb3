"""Write one split of a prepared corpus: Arrow shards in the layout of `datasets`, statistics, and plain text."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mtkit.corpus.manifest import SideStatistics, SplitStatistics
from mtkit.corpus.store import build_schema
from mtkit.runtime.files import write_json

_SHARD_BYTES = 512 << 20


class SplitWriter:
    """Writes the pairs of one split, chunk by chunk, into a folder that `datasets.load_from_disk` also opens."""

    def __init__(self, folder: Path, source_unk_id: int, target_unk_id: int) -> None:
        from datasets import Features

        self.folder = folder
        self.folder.mkdir(parents=True)
        self.source = _SideCounter(source_unk_id)
        self.target = _SideCounter(target_unk_id)
        self.pairs = 0
        self.corpora: Counter[str] = Counter()
        self._features = Features.from_arrow_schema(build_schema())
        self._schema = self._features.arrow_schema
        self._shards: list[Path] = []
        self._sink: Any = None
        self._stream: Any = None

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pairs == 0:
            self._open_shard()
        self._close_shard()
        if kind is None:
            self._write_layout()

    def write(self, batch: Any) -> None:
        """Write a chunk of pairs, an Arrow record batch with the columns of `build_schema`."""
        if len(batch) == 0:
            return
        if self._stream is None or self._sink.tell() > _SHARD_BYTES:
            self._open_shard()
        self._stream.write_batch(batch.replace_schema_metadata(self._schema.metadata))
        self.source.count(batch["source"], batch["source_ids"])
        self.target.count(batch["target"], batch["target_ids"])
        self.pairs += len(batch)
        for counted in batch["corpus"].value_counts().to_pylist():
            self.corpora[counted["values"]] += counted["counts"]

    def statistics(self) -> SplitStatistics:
        """Return what has been written so far."""
        return SplitStatistics(pairs=self.pairs, source=self.source.statistics(), target=self.target.statistics())

    def _open_shard(self) -> None:
        self._close_shard()
        path = self.folder / f"data-{len(self._shards):05d}.arrow"
        self._sink = pa.OSFile(str(path), "wb")
        self._stream = pa.ipc.new_stream(self._sink, self._schema)
        self._shards.append(path)

    def _close_shard(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._sink.close()
            self._stream = None

    def _write_layout(self) -> None:
        """Write what `datasets.load_from_disk` wants to find beside the shards."""
        from datasets import DatasetInfo

        DatasetInfo(features=self._features).write_to_directory(str(self.folder))
        state: dict[str, Any] = {
            "_data_files": [{"filename": shard.name} for shard in self._shards],
            "_fingerprint": hashlib.sha256(self.statistics().model_dump_json().encode()).hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": self.folder.name,
        }
        write_json(state, self.folder / "state.json")


class _SideCounter:
    """Counts tokens, words and lengths of one side."""

    def __init__(self, unk_id: int) -> None:
        self._unk_id = unk_id
        self._tokens = 0
        self._words = 0
        self._unknown = 0
        self._histogram: npt.NDArray[np.int64] = np.zeros(1, np.int64)

    def count(self, lines: Any, ids: Any) -> None:
        """Count a chunk: a string array and a list array of its token ids."""
        lengths = np.diff(ids.offsets.to_numpy())
        values = ids.flatten().to_numpy()
        self._tokens += len(values)
        self._unknown += int(np.count_nonzero(values == self._unk_id))
        self._words += _count_words(lines)
        histogram = np.bincount(lengths, minlength=len(self._histogram))
        histogram[: len(self._histogram)] += self._histogram
        self._histogram = histogram

    def statistics(self) -> SideStatistics:
        """Return the counts, with lengths in tokens."""
        cumulative = np.cumsum(self._histogram)
        total = int(cumulative[-1])
        percentiles = {
            str(percent): int(np.searchsorted(cumulative, total * percent / 100)) if total else 0
            for percent in (50, 90, 99)
        }
        longest = int(np.flatnonzero(self._histogram)[-1]) if total else 0
        return SideStatistics(
            tokens=self._tokens,
            words=self._words,
            unknown=self._unknown,
            length_percentiles={**percentiles, "max": longest},
        )


def _count_words(lines: Any) -> int:
    """Return the number of words of a string array: runs of bytes that are no ASCII blank.

    A byte is a word's first if it is no blank and the byte before it is one, or if it starts a line.
    """
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    data = lines.buffers()[2]
    if data is None or offsets[-1] == offsets[0]:
        return 0
    visible = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] > 0x20
    starts = visible.copy()
    starts[1:] &= ~visible[:-1]
    # A line's first byte starts a word, whatever stands at the end of the line before.
    firsts = offsets[:-1][np.diff(offsets) > 0] - offsets[0]
    starts[firsts] = visible[firsts]
    return int(np.count_nonzero(starts))
