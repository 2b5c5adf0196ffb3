"""A prepared corpus on disk: memory-mapped text and token ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mtkit.corpus.manifest import Manifest, read_manifest
from mtkit.corpus.tokenizer import Tokenizer, load_tokenizers
from mtkit.errors import DataError
from mtkit.runtime.files import hash_file

SplitName = Literal["train", "valid", "test"]
HeldOutName = Literal["valid", "test"]
HELD_OUT: tuple[HeldOutName, ...] = ("valid", "test")
Ids = npt.NDArray[np.int32]
# Files are read to be verified, the small ones first, as long as they hold no more than this together: about a second.
_VERIFIED_BYTES = 512 << 20
Codes = npt.NDArray[np.unsignedinteger[Any]]


def build_schema() -> Any:
    """Return the Arrow schema of a split; `datasets` reads it as it is."""
    ids = pa.list_(pa.int32())
    return pa.schema(
        {"source": pa.string(), "target": pa.string(), "source_ids": ids, "target_ids": ids, "corpus": pa.string()}
    )


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation, as text and as token ids without begin and end of sentence."""

    source: str
    target: str
    source_ids: list[int]
    target_ids: list[int]
    corpus: str


class CorpusSplit:
    """The pairs of one split, in a table on disk; only what is looked at is read."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._starts = np.cumsum([0, *(len(chunk) for chunk in table["source_ids"].chunks)])
        self._source_chunks = _view_lists(table["source_ids"])
        self._target_chunks = _view_lists(table["target_ids"])
        self._text_chunks = [_view_strings(table[side]) for side in ("source", "target")]

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Pair:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return Pair(**self._table.slice(row % len(self), 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Pair]:
        for batch in self._table.to_batches(max_chunksize=1000):
            yield from (Pair(**values) for values in batch.to_pylist())

    @cached_property
    def source_lengths(self) -> Ids:
        """The tokens of each source, end of sentence not counted: `(rows,)` int32."""
        return _lengths(self._source_chunks)

    @cached_property
    def target_lengths(self) -> Ids:
        """The tokens of each target, end of sentence not counted: `(rows,)` int32."""
        return _lengths(self._target_chunks)

    def token_ids(self, rows: npt.NDArray[np.integer]) -> tuple[list[Ids], list[Ids]]:
        """Return the token ids of some rows, without begin and end of sentence.

        Args:
            rows: `(count,)` row numbers in any order.

        Returns:
            For source and target, an int32 array for each row: read-only views of the file.
        """
        places = self._find_places(rows)
        return _gather(self._source_chunks, places), _gather(self._target_chunks, places)

    def texts(self, rows: npt.NDArray[np.integer]) -> tuple[list[str], list[str]]:
        """Return the text of some rows: the sources and the targets.

        Args:
            rows: `(count,)` row numbers in any order.
        """
        places = self._find_places(rows)
        sources, targets = (_gather_text(chunks, places) for chunks in self._text_chunks)
        return sources, targets

    @cached_property
    def corpus_codes(self) -> Codes:
        """The corpus that each row comes from, as an index of `corpus_names`: `(rows,)`, in the smallest type."""
        smallest = np.min_scalar_type(max(0, len(self.corpus_names) - 1))
        chunks = [chunk.indices.to_numpy().astype(smallest) for chunk in self._corpora.chunks]
        return np.concatenate([np.zeros(0, smallest), *chunks])

    @cached_property
    def corpus_names(self) -> list[str]:
        """The names of the corpora that rows come from, in the order in which they first appear."""
        return self._corpora.chunk(0).dictionary.to_pylist() if self._corpora.num_chunks else []

    @cached_property
    def _corpora(self) -> Any:
        return self._table["corpus"].dictionary_encode().unify_dictionaries()

    def _find_places(self, rows: npt.NDArray[np.integer]) -> list[tuple[int, int]]:
        """Return the chunk that holds each row, and its place there."""
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        return list(zip(chunks.tolist(), (rows - self._starts[chunks]).tolist(), strict=True))

    def source_lines(self) -> list[str]:
        """Return the text of all sources, in memory: for validation and test sets."""
        return self._table["source"].to_pylist()  # type: ignore[no-any-return]

    def target_lines(self) -> list[str]:
        """Return the text of all targets, in memory: for validation and test sets."""
        return self._table["target"].to_pylist()  # type: ignore[no-any-return]


class PreparedCorpus:
    """A folder that `mtkit prepare` wrote."""

    def __init__(self, path: Path, manifest: Manifest, source: Tokenizer, target: Tokenizer) -> None:
        self.path = path
        self.manifest = manifest
        self.source_tokenizer = source
        self.target_tokenizer = target

    @classmethod
    def load(cls, path: str | Path) -> PreparedCorpus:
        """Open a prepared corpus; its text stays on disk until it is used.

        Raises:
            DataError: The folder is no prepared corpus, is damaged, or was written by a newer mtkit.
            ModelError: Its vocabulary cannot be read.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for name, size in manifest.file_bytes.items():
            file = path / name
            if not file.is_file():
                raise DataError("a file of the prepared corpus is missing", at=file, fix="prepare the corpus again")
            if (there := file.stat().st_size) != size:
                raise DataError(
                    f"a file of the prepared corpus is damaged: {there:,} bytes instead of {size:,}",
                    at=file,
                    fix="prepare the corpus again",
                )
        return cls(path, manifest, *load_tokenizers(path))

    def verify(self) -> None:
        """Compare the files with the hashes that were noted when they were written.

        Of a large corpus these are the vocabulary and the validation and test text; the size of every file is compared
        by `load`.

        Raises:
            DataError: A file has changed since.
        """
        left = _VERIFIED_BYTES
        for name, size in sorted(self.manifest.file_bytes.items(), key=lambda entry: entry[1]):
            left -= size
            wanted = self.manifest.file_hashes.get(name)
            if left >= 0 and wanted is not None and hash_file(self.path / name) != wanted:
                raise DataError(
                    "a file of the prepared corpus has changed since it was written",
                    at=self.path / name,
                    fix="restore it from a copy, or prepare the corpus again with --overwrite",
                )

    @property
    def fingerprint(self) -> str:
        """A hash of everything in the corpus: it changes whenever the content does."""
        return self.manifest.fingerprint

    @property
    def source_language(self) -> str | None:
        """The source language (BCP-47), None where it is not known."""
        return self.manifest.source_language

    @property
    def target_language(self) -> str | None:
        """The target language (BCP-47), None where it is not known."""
        return self.manifest.target_language

    @cached_property
    def train(self) -> CorpusSplit:
        """The training pairs."""
        split = self._open("train")
        assert split is not None, "a corpus without training text is never written"
        return split

    @cached_property
    def valid(self) -> CorpusSplit | None:
        """The validation pairs, None where there are none."""
        return self._open("valid")

    @cached_property
    def test(self) -> CorpusSplit | None:
        """The test pairs, None where there are none."""
        return self._open("test")

    def tag_of(self, corpus: str) -> str | None:
        """Return the tag that stands before the sources of a corpus, by the name that is kept with its pairs."""
        known = self.manifest.corpora.get(corpus)
        return None if known is None else known.tag

    def text_path(self, split: HeldOutName, side: Literal["source", "target"]) -> Path:
        """Return the path of a validation or test set's plain text, one sentence a line."""
        return self.path / f"{split}.{side}.txt"

    def _open(self, split: SplitName) -> CorpusSplit | None:
        if split not in self.manifest.splits:
            return None
        tables = [_read_shard(shard) for shard in sorted((self.path / split).glob("*.arrow"))]
        return CorpusSplit(pa.concat_tables(tables))


def _read_shard(path: Path) -> Any:
    """Map one shard into memory."""
    try:
        table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        return table.cast(build_schema())
    except (pa.ArrowException, OSError) as exc:
        raise DataError("a shard of the prepared corpus is damaged", at=path, fix="prepare the corpus again") from exc


def _view_lists(column: Any) -> list[tuple[Ids, Ids]]:
    """Return offsets and values of each chunk of a list column, as views."""
    return [(chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in column.chunks]


def _view_strings(column: Any) -> list[tuple[Ids, memoryview]]:
    """Return offsets and bytes of each chunk of a string column, as views."""
    views = []
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        places = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        views.append((places, memoryview(data if data is not None else b"")))
    return views


def _gather_text(chunks: list[tuple[Ids, memoryview]], places: list[tuple[int, int]]) -> list[str]:
    return [str(chunks[chunk][1][slice(*chunks[chunk][0][row : row + 2])], "utf-8") for chunk, row in places]


def _lengths(chunks: list[tuple[Ids, Ids]]) -> Ids:
    return np.concatenate([np.zeros(0, np.int32), *(np.diff(offsets) for offsets, _ in chunks)])


def _gather(chunks: list[tuple[Ids, Ids]], places: list[tuple[int, int]]) -> list[Ids]:
    gathered = []
    for chunk, row in places:
        offsets, values = chunks[chunk]
        gathered.append(values[offsets[row] : offsets[row + 1]])
    return gathered
