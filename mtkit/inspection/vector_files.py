"""Files of sentence vectors: .npy, Parquet and JSON lines, written and read a piece at a time.

```
.npy       (lines, dimensions) float32, for numpy.load, also with mmap_mode="r"
.parquet   columns `text` and `vector` (lists of float), a row a line
.jsonl     {"text": "…", "vector": [0.25, …]}, a line a line; nine digits, which give back each float32
```
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from mtkit.corpus.text_files import iter_line_chunks
from mtkit.decoding.output import Output, open_output
from mtkit.errors import DataError, RecipeError
from mtkit.runtime.files import atomic_file

Matrix = npt.NDArray[np.float32]

SUFFIXES = (".npy", ".parquet", ".jsonl")
_GROUP_ROWS = 8192
_CHUNK_LINES = 1024


class VectorWriter(Protocol):
    """Takes vectors, in order."""

    def write(self, texts: Sequence[str], vectors: Matrix) -> None:
        """Append lines and their vectors, `(lines, dimensions)`."""


def is_vector_file(path: Path) -> bool:
    """Return whether a file's suffix says that it holds vectors."""
    return path.suffix.lower() in SUFFIXES


@contextmanager
def open_vectors(path: Path | None, num_dimensions: int) -> Iterator[VectorWriter]:
    """Open a file for vectors; it takes its place at the end of the block, whole.

    Args:
        path: Its suffix decides the format; None for JSON lines on standard output.
        num_dimensions: Length of a vector.

    Raises:
        RecipeError: The suffix is none of `SUFFIXES`.
        OutputError: The file cannot be written.
    """
    match path.suffix.lower() if path is not None else ".jsonl":
        case ".jsonl":
            with open_output(path) as output:
                yield _JsonWriter(output)
        case ".npy":
            assert path is not None
            with atomic_file(path.resolve()) as temporary, temporary.open("wb") as stream:
                npy = NpyWriter(stream, num_dimensions)
                yield npy
                npy.finish()
        case ".parquet":
            assert path is not None
            with atomic_file(path.resolve()) as temporary:
                parquet = _ParquetWriter(temporary, num_dimensions)
                try:
                    yield parquet
                    parquet.flush()
                finally:
                    parquet.close()
        case _:
            raise RecipeError(
                "the suffix does not tell the format of the vectors", at=path, fix=f"end the name in {_any_suffix()}"
            )


def _any_suffix() -> str:
    return f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"


class NpyWriter:
    """Writes a matrix row by row; numpy leaves room in the header for the number of rows, which is put in at the end.

    Args:
        stream: Where it goes; it must be able to seek.
        num_dimensions: Length of a row.
    """

    def __init__(self, stream: IO[bytes], num_dimensions: int) -> None:
        self._stream = stream
        self._num_dimensions = num_dimensions
        self._num_rows = 0
        self._stream.write(self._header())

    def write(self, texts: Sequence[str], vectors: Matrix) -> None:
        """Append vectors; the texts are not kept."""
        self._num_rows += len(vectors)
        self._stream.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())

    def finish(self) -> None:
        """Put the number of rows into the header."""
        self._stream.seek(0)
        self._stream.write(self._header())
        self._stream.seek(0, io.SEEK_END)

    def _header(self) -> bytes:
        header = io.BytesIO()
        shape = (self._num_rows, self._num_dimensions)
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return header.getvalue()


class _ParquetWriter:
    def __init__(self, path: Path, num_dimensions: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema({"text": pa.string(), "vector": pa.list_(pa.float32(), num_dimensions)})
        self._writer = pq.ParquetWriter(path, self._schema)
        self._texts: list[str] = []
        self._vectors: list[Matrix] = []

    def write(self, texts: Sequence[str], vectors: Matrix) -> None:
        self._texts += texts
        self._vectors.append(vectors)
        if len(self._texts) >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what has come as a row group."""
        import pyarrow as pa

        if self._texts:
            flat = pa.array(np.concatenate(self._vectors).astype(np.float32, copy=False).ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, self._schema.field("vector").type.list_size)
            self._writer.write_table(pa.table([pa.array(self._texts, pa.string()), vectors], schema=self._schema))
            self._texts, self._vectors = [], []

    def close(self) -> None:
        self._writer.close()


class _JsonWriter:
    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, texts: Sequence[str], vectors: Matrix) -> None:
        for text, vector in zip(texts, vectors.tolist(), strict=True):
            numbers = ", ".join(f"{value:.9g}" for value in vector)
            self._output.write_line(f'{{"text": {json.dumps(text, ensure_ascii=False)}, "vector": [{numbers}]}}')
        self._output.flush()


def iter_vectors(path: Path) -> Iterator[tuple[list[str] | None, Matrix]]:
    """Yield the rows of a file of vectors a piece at a time: texts (None where it has none) and vectors, float32.

    Raises:
        DataError: The file is missing or damaged, or holds something else.
    """
    pieces: Iterator[tuple[list[str] | None, Matrix]]
    match path.suffix.lower():
        case ".npy":
            pieces = _iter_npy(path)
        case ".parquet":
            pieces = _iter_parquet(path)
        case _:
            pieces = _iter_jsonl(path)
    num_dimensions: int | None = None
    first = 1
    for texts, vectors in pieces:
        if num_dimensions is not None and vectors.shape[1] != num_dimensions:
            raise DataError(
                f"vectors of {num_dimensions:,} and of {vectors.shape[1]:,} dimensions",
                at=f"{path}: row {first:,}",
                fix="embed all lines with one model",
            )
        num_dimensions = vectors.shape[1]
        if not np.isfinite(vectors).all():
            row = first + int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
            raise DataError("a vector is not finite", at=f"{path}: row {row:,}", fix="embed the text again")
        first += len(vectors)
        yield texts, vectors


def _iter_npy(path: Path) -> Iterator[tuple[list[str] | None, Matrix]]:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as exc:
        raise DataError("no such file", at=path, fix="check the path") from exc
    except (OSError, ValueError, EOFError) as exc:
        raise DataError("cannot read it as .npy", at=path, fix="embed the text again") from exc
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise DataError("no matrix of floats, a row a line", at=path, fix="give a file that mtkit embed made")
    for start in range(0, len(matrix), _GROUP_ROWS):
        yield None, np.asarray(matrix[start : start + _GROUP_ROWS], dtype=np.float32)


def _iter_parquet(path: Path) -> Iterator[tuple[list[str] | None, Matrix]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "vector" not in names:
                raise DataError("no column 'vector'", at=path, fix="give a file that mtkit embed made")
            columns = [name for name in ("text", "vector") if name in names]
            for batch in file.iter_batches(batch_size=_CHUNK_LINES, columns=columns):
                texts = [text or "" for text in batch.column("text").to_pylist()] if "text" in names else None
                yield texts, _to_matrix(batch.column("vector").to_pylist(), path)
    except FileNotFoundError as exc:
        raise DataError("no such file", at=path, fix="check the path") from exc
    except (pa.ArrowException, OSError) as exc:
        raise DataError("cannot read it as Parquet", at=path, fix="embed the text again") from exc


def _iter_jsonl(path: Path) -> Iterator[tuple[list[str] | None, Matrix]]:
    first = 1
    for lines in iter_line_chunks(path, _CHUNK_LINES):
        rows = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, first)]
        texts = [str(row.get("text") or "") for row in rows]
        yield texts if all("text" in row for row in rows) else None, _to_matrix([row["vector"] for row in rows], path)
        first += len(lines)


def _parse(line: str, at: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise DataError("not valid JSON", at=at, fix="embed the text again") from exc
    if not isinstance(row, dict) or not isinstance(row.get("vector"), list):
        raise DataError("no object with a 'vector'", at=at, fix="give a file that mtkit embed made")
    return row


def _to_matrix(rows: list[Any], path: Path) -> Matrix:
    try:
        matrix = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise DataError("vectors of unequal lengths, or no numbers", at=path, fix="embed the text again") from exc
    if matrix.ndim != 2:
        raise DataError("vectors without numbers", at=path, fix="embed the text again")
    return matrix
