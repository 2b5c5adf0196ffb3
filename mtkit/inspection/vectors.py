"""Sentence vectors on disk as they are compared: unit vectors, a block at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtkit.errors import DataError
from mtkit.inspection.vector_files import Matrix, NpyWriter

_BLOCK_ROWS = 4096


class TextFile:
    """Lines on disk, found by their number.

    Args:
        path: A file that is written and read.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w+b")
        self._ends = array("q", [0])

    def append(self, lines: Iterable[str]) -> None:
        """Add lines behind those that are there."""
        self._stream.seek(self._ends[-1])
        for line in lines:
            data = line.encode()
            self._stream.write(data)
            self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, line: int) -> str:
        self._stream.seek(self._ends[line])
        return self._stream.read(self._ends[line + 1] - self._ends[line]).decode()

    def close(self) -> None:
        """End reading."""
        self._stream.close()


@dataclass(frozen=True)
class Vectors:
    """The vectors of a file's lines.

    Attributes:
        matrix: `(lines, dimensions)` float32, in memory or mapped into it.
        is_empty: `(lines,)` bool; the vectors of empty lines are zero, and are like nothing.
        mean: `(dimensions,)`, taken from each vector that is not empty; None for nothing.
        weights: `(dimensions, other dimensions)`, by which each is then multiplied; None for nothing.
        texts: The lines; None where they are not known.
        name: What to call the file in a message.
    """

    matrix: Matrix
    is_empty: npt.NDArray[np.bool_]
    mean: npt.NDArray[np.float32] | None = None
    weights: npt.NDArray[np.float32] | None = None
    texts: TextFile | None = None
    name: str | None = None

    def __len__(self) -> int:
        return len(self.matrix)

    def unit_block(self, start: int, stop: int) -> Tensor:
        """Return rows as vectors of length 1, less the mean and times the weights; those of empty lines stay zero.

        Returns:
            `(rows, dimensions)` float32, on the CPU; as many as the weights make of them.
        """
        block = torch.from_numpy(np.array(self.matrix[start:stop], dtype=np.float32))
        if self.mean is not None:
            block -= torch.from_numpy(self.mean)
        if self.weights is not None:
            block = block @ torch.from_numpy(self.weights)
        block[torch.from_numpy(self.is_empty[start:stop])] = 0
        return torch.nn.functional.normalize(block, dim=1)


def build_vectors(matrix: Matrix, *, centred: bool = False, texts: TextFile | None = None) -> Vectors:
    """Return vectors as they are compared.

    Args:
        matrix: `(lines, dimensions)` float32; rows of zeros are empty lines.
        centred: Whether to subtract the mean of all rows but those: what the sentences of a language have in common
            says nothing about one of them, and differs from what those of another language have.
        texts: The lines.
    """
    total = np.zeros(matrix.shape[1], np.float64)
    is_empty = np.zeros(len(matrix), np.bool_)
    for start in range(0, len(matrix), _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        is_empty[start : start + _BLOCK_ROWS] = ~block.any(axis=1)
        total += block.sum(axis=0, dtype=np.float64)
    count = len(matrix) - int(is_empty.sum())
    mean = (total / max(1, count)).astype(np.float32) if centred else None
    return Vectors(matrix, is_empty, mean, texts=texts)


class VectorStore:
    """A context in which vectors and their lines lie in temporary files, so that they may be larger than the memory."""

    def __enter__(self) -> VectorStore:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="mtkit-")))
        self._num_files = 0
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def add(
        self, pieces: Iterable[tuple[Sequence[str] | None, Matrix]], name: str | Path, *, centred: bool = False
    ) -> Vectors:
        """Keep lines and vectors, and return them as they are compared.

        Args:
            pieces: Lines (None where they are not known) and their vectors, a piece at a time.
            name: What to call the text in a message.
            centred: See `build_vectors`.

        Raises:
            DataError: There is no vector that is not zero.
        """
        self._num_files += 1
        path = self._folder / f"{self._num_files}.npy"
        texts = TextFile(path.with_suffix(".txt"))
        self._stack.callback(texts.close)
        writer: NpyWriter | None = None
        with path.open("wb") as stream:
            for lines, vectors in pieces:
                writer = writer or NpyWriter(stream, vectors.shape[1])
                writer.write((), vectors)
                texts.append(lines or ())
            if writer is not None:
                writer.finish()
        if writer is not None:
            matrix = np.load(path, mmap_mode="r")
            stored = build_vectors(matrix, centred=centred, texts=texts if len(texts) == len(matrix) else None)
            if not stored.is_empty.all():
                return replace(stored, name=str(name))
        raise DataError("no line with text in it", at=name, fix="give a file with one sentence a line")


def check_lines(left: Vectors, right: Vectors) -> None:
    """Refuse sides that are not aligned.

    Raises:
        DataError: The numbers of lines differ.
    """
    if len(left) != len(right):
        raise DataError(
            f"{len(left):,} lines beside {len(right):,}",
            at=f"{left.name}, {right.name}" if left.name and right.name else None,
            fix="give files that are aligned line by line; --mine looks for pairs in texts that are not",
        )


def check_widths(left: int, right: int) -> None:
    """Refuse vectors of different models, as far as it shows.

    Args:
        left: Dimensions of one side.
        right: Dimensions of the other.

    Raises:
        DataError: They differ.
    """
    if left != right:
        raise DataError(f"vectors of {left:,} and of {right:,} dimensions", fix="embed all texts with the same model")
