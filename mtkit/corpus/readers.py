"""Parallel text from where it lies to chunks of aligned lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from mtkit.config.corpus import TextSource
from mtkit.corpus.datasets_reader import read_dataset
from mtkit.corpus.language_tags import Languages
from mtkit.corpus.reading import Lines, Reading
from mtkit.corpus.repair import SEPARATORS, repair_lines
from mtkit.corpus.store import SplitName
from mtkit.corpus.tables import read_jsonl, read_parquet, read_tsv
from mtkit.corpus.text_files import iter_line_chunks, strip_compression
from mtkit.corpus.translation_memory import SUFFIXES, read_memory
from mtkit.errors import DataError, RecipeError

CHUNK_PAIRS = 16_384


def iter_pairs(
    source: TextSource, role: SplitName, languages: Languages, reading: Reading, chunk_pairs: int = CHUNK_PAIRS
) -> Iterator[Lines]:
    """Yield the pairs of one source in chunks of aligned lines, with nothing in them that breaks a line.

    Args:
        source: Where the text lies.
        role: The split it is for.
        languages: Source and target language, to find the columns of a table by.
        reading: Is told the share that has been read, and what was repaired.
        chunk_pairs: Pairs in a chunk, at most.

    Raises:
        DataError: The text is missing, damaged, empty, misaligned or no UTF-8.
        RecipeError: The format is not known.
    """
    if source.dataset:
        chunks = read_dataset(source, role, languages, chunk_pairs, reading)
    elif source.source and source.target:
        chunks = read_text(source.source, source.target, chunk_pairs, reading)
    else:
        assert source.path is not None
        match strip_compression(source.path).suffix.lower():
            case ".tsv":
                chunks = read_tsv(source.path, source.columns, languages, chunk_pairs, reading)
            case ".jsonl" | ".ndjson":
                chunks = read_jsonl(source.path, source.columns, languages, chunk_pairs, reading)
            case ".parquet":
                chunks = read_parquet(source.path, source.columns, languages, chunk_pairs, reading)
            case suffix if suffix in SUFFIXES:
                chunks = read_memory(source.path, languages, chunk_pairs, reading)
            case suffix:
                raise RecipeError(
                    f"no reader for '{suffix or source.path.name}' files",
                    at=source.path,
                    fix="give a .tsv, .jsonl, .parquet, .po, .tmx or .xliff file, or two text files as source and "
                    "target",
                )
    # Of many catalogs some may be untranslated.
    has_pairs = (
        role == "train" and source.path is not None and strip_compression(source.path).suffix.lower() in SUFFIXES
    )
    for sources, targets in chunks:
        has_pairs = has_pairs or bool(sources)
        yield repair_lines(sources, reading.repaired), repair_lines(targets, reading.repaired)
    if not has_pairs:
        raise DataError("there are no pairs in it", at=source.dataset or source.path, fix="give a source with pairs")


def read_text(source: Path, target: Path, chunk_pairs: int, reading: Reading) -> Iterator[Lines]:
    """Yield the pairs of two text files in chunks.

    Raises:
        DataError: A file cannot be read, or they differ in their number of lines.
    """
    sources = iter_line_chunks(source, chunk_pairs, reading.report_share)
    targets = iter_line_chunks(target, chunk_pairs)
    read = 0
    for source_lines, target_lines in zip_longest(sources, targets, fillvalue=()):
        if len(source_lines) != len(target_lines):
            counts = [read + len(source_lines), read + len(target_lines)]
            counts[0] += sum(map(len, sources))
            counts[1] += sum(map(len, targets))
            raise DataError(
                f"the files are not aligned: {counts[0]:,} lines and {counts[1]:,} lines",
                at=f"{source} and {target}",
                fix=f"make them translations of each other line by line{_hint(source, target)}",
            )
        yield list(source_lines), list(target_lines)
        read += len(source_lines)


def _hint(source: Path, target: Path) -> str:
    """Say where the first line stands that other programs would have broken, or that is empty on one side only."""
    number = 0
    for source_lines, target_lines in zip(iter_line_chunks(source, 1000), iter_line_chunks(target, 1000), strict=False):
        for source_line, target_line in zip(source_lines, target_lines, strict=False):
            number += 1
            for path, line in ((source, source_line), (target, target_line)):
                odd = next((name for mark, name in SEPARATORS.items() if mark in line.removesuffix("\r")), None)
                if odd:
                    return f"; look first at {path}:{number}, which holds a {odd}"
            if bool(source_line.strip()) != bool(target_line.strip()):
                path = target if source_line.strip() else source
                return f"; look first at {path}:{number}, which is empty on this side only"
    return ""
