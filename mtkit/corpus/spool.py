"""Cleaned text, kept on disk between reading it and encoding it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SCHEMA = pa.schema({"source": pa.string(), "target": pa.string()})


class Spool:
    """A temporary file of pairs, written once and read twice, a chunk at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._labels: list[str] = []
        self._sink = pa.OSFile(str(path), "wb")
        self._stream = pa.ipc.new_stream(self._sink, _SCHEMA)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        self._path.unlink(missing_ok=True)

    def write(self, sources: list[str], targets: list[str], label: str) -> None:
        """Append a chunk of pairs that come from the corpus called `label`."""
        if sources:
            arrays = [pa.array(sources, pa.string()), pa.array(targets, pa.string())]
            self._stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA))
            self._labels.append(label)

    def finish(self) -> None:
        """End writing."""
        if not self._sink.closed:
            self._stream.close()
            self._sink.close()

    def iter_chunks(self) -> Iterator[tuple[int, Any]]:
        """Yield each chunk: its first row, and a record batch with `source`, `target` and `corpus`."""
        first = 0
        with pa.OSFile(str(self._path), "rb") as file, pa.ipc.open_stream(file) as stream:
            for batch, label in zip(stream, self._labels, strict=True):
                yield first, batch.append_column("corpus", pa.repeat(label, len(batch)))
                first += len(batch)

    def iter_lines(self, side: str, rows: npt.NDArray[np.bool_]) -> Iterator[str]:
        """Yield the lines of `source`, of `target`, or of `both` sides, of the rows that are True in a mask."""
        names = ("source", "target") if side == "both" else (side,)
        for first, batch in self.iter_chunks():
            chosen = batch.filter(pa.array(rows[first : first + len(batch)]))
            for name in names:
                yield from chosen[name].to_pylist()
