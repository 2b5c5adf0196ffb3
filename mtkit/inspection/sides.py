"""What is embedded or compared: lines of text, or a file of vectors that were made before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.corpus.text_files import open_bytes
from mtkit.decoding.problems import warn_undecodable
from mtkit.decoding.stream import LineStream, count_lines, open_file, open_standard_input
from mtkit.inspection.vector_files import Matrix, is_vector_file, iter_vectors, open_vectors
from mtkit.runtime import console

if TYPE_CHECKING:
    from mtkit.inspection.embedding import Embedder
    from mtkit.inspection.mapping import Projection
    from mtkit.inspection.vectors import Vectors, VectorStore

# Lines, None where they are not known, and their vectors, `(lines, dimensions)` float32.
Piece = tuple[Sequence[str] | None, Matrix]


@dataclass(frozen=True)
class TextSide:
    """Lines of text, embedded as they are read."""

    stream: LineStream

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.stream.name

    def iter_pieces(self, embedder: Embedder | None, tag: str | None) -> Iterator[Piece]:
        """Yield the lines and their vectors, a window at a time, and say what was embedded.

        Raises:
            DataError: The lines cannot be read.
            ModelError: The tag is no piece of the source vocabulary.
            DeviceError: The device's memory does not suffice for a single sentence.
        """
        assert embedder is not None
        path = Path(self.name)
        total = count_lines(path) if console.is_terminal() and path.is_file() else None
        with console.progress(f"embedding {self.name}", total, "lines") as advance:
            for window in self.stream.iter_windows(embedder.window_lines):
                yield window, embedder.embed_window(window, tag)
                advance(len(window))
        console.say(f"{self.name}: {embedder.take_counts()}")
        warn_undecodable(self.stream, done="embedded")


@dataclass(frozen=True)
class VectorSide:
    """A file of vectors, which need no model."""

    path: Path

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self.path)

    def iter_pieces(self, embedder: Embedder | None, tag: str | None) -> Iterator[Piece]:
        """Yield the vectors, and the lines where the file has them.

        Raises:
            DataError: The file is damaged.
        """
        yield from iter_vectors(self.path)


Side = TextSide | VectorSide


def open_side(path: Path | None) -> Side:
    """Return what a file holds: vectors, if its suffix says so, else text; standard input for None.

    Raises:
        DataError: The file is missing.
    """
    if path is None:
        return TextSide(open_standard_input())
    if not is_vector_file(path):
        return TextSide(open_file(path))
    with open_bytes(path):  # what is wrong shows now, not when the other file has been embedded
        return VectorSide(path)


def write_vectors(embedder: Embedder, side: Side, output: Path | None) -> None:
    """Write the vectors of a side to a file; None for standard output.

    Raises:
        RecipeError: The suffix of the file tells no format.
        OutputError: It cannot be written.
    """
    with open_vectors(output, embedder.num_dimensions) as vectors:
        for texts, matrix in side.iter_pieces(embedder, None):
            vectors.write(texts or [], matrix)


def store_sides(
    store: VectorStore,
    embedder: Embedder | None,
    sides: Sequence[Side],
    *,
    other_tag: str | None = None,
    centred: bool = False,
    max_parallel: int = 20_000,
) -> tuple[Vectors, Vectors]:
    """Return the vectors of two sides, as they are compared.

    Args:
        store: Keeps them.
        embedder: For sides that are text.
        sides: Two; behind them, if there is such, parallel text of both languages, which teaches how their vectors
            relate.
        other_tag: In place of `decoding.tag`, for the second side and the second text.
        centred: Whether to subtract the mean of each side.
        max_parallel: Lines of parallel text that are read, at most.

    Raises:
        DataError: A side has no text in it, or the parallel text is too short or not parallel.
    """
    tags = (None, other_tag) * (len(sides) // 2)
    pieces = [side.iter_pieces(embedder, tag) for side, tag in zip(sides, tags, strict=True)]
    projections: Sequence[Projection] = ()
    if len(sides) > 2:  # first, so that what is wrong with it shows before the rest is embedded
        from mtkit.inspection.mapping import learn_projections

        pairs = zip(pieces[2:], sides[2:], strict=True)
        texts = [store.add(_take(one, max_parallel), side.name) for one, side in pairs]
        projections = learn_projections(*texts)
    left, right = (store.add(one, side.name, centred=centred) for one, side in zip(pieces[:2], sides[:2], strict=True))
    if projections:
        left, right = projections[0].apply(left), projections[1].apply(right)
    return left, right


def _take(pieces: Iterator[Piece], most: int) -> Iterator[Piece]:
    """Yield the first `most` rows of what comes in pieces."""
    for texts, vectors in pieces:
        yield None if texts is None else texts[:most], vectors[:most]
        most -= len(vectors)
        if most <= 0:
            return
