"""What translators keep as training text: gettext catalogs, TMX and XLIFF files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from mtkit.corpus.bilingual_xml import (
    Pair,
    find_tmx_languages,
    find_xliff_languages,
    iter_tmx_pairs,
    iter_xliff_pairs,
)
from mtkit.corpus.columns import Languages
from mtkit.corpus.gettext_files import find_language, iter_catalog_pairs, read_catalog
from mtkit.corpus.reading import Lines, Reading
from mtkit.corpus.text_files import open_bytes, strip_compression
from mtkit.runtime import console

SUFFIXES = frozenset({".po", ".pot", ".tmx", ".xlf", ".xliff"})


def read_memory(path: Path, languages: Languages, chunk_pairs: int, reading: Reading) -> Iterator[Lines]:
    """Yield the pairs of a catalog, a translation memory or an XLIFF file in chunks.

    Texts lose their inline codes (`<g>`, `<bpt>`) and line breaks; placeholders and tags that are text stay.
    What is obsolete, fuzzy, in need of review or untranslated is left out and counted.

    Args:
        path: The file; its suffix names the format.
        languages: Source and target language of the corpus.
        chunk_pairs: Pairs in a chunk, at most.
        reading: Is told the share that has been read, and what was left out.

    Raises:
        DataError: The file is missing or damaged, or in other languages.
    """
    with open_bytes(path) as (stream, _):
        content = stream.read()
    has_pairs = False
    pairs = _iter_pairs(content, path, languages, reading.left_out)
    while chunk := list(islice(pairs, chunk_pairs)):
        yield [source for source, _ in chunk], [target for _, target in chunk]
        has_pairs = True
    reading.report_share(1.0)
    if not has_pairs:
        console.say(f"{path}: no pairs in it")


def read_languages(path: Path) -> Languages:
    """Return the source and target language that a file tells of itself; None for what it does not.

    A catalog tells the target language alone, a translation memory of several target languages the source language.

    Args:
        path: The file; its suffix names the format.

    Raises:
        DataError: The file is missing or damaged.
    """
    with open_bytes(path) as (stream, _):
        content = stream.read()
    match strip_compression(path).suffix.lower():
        case ".tmx":
            return find_tmx_languages(content, path)
        case ".xlf" | ".xliff":
            return find_xliff_languages(content, path)
        case _:
            return None, find_language(read_catalog(content, path))


def _iter_pairs(content: bytes, path: Path, languages: Languages, left_out: Counter[str]) -> Iterator[Pair]:
    match strip_compression(path).suffix.lower():
        case ".tmx":
            return iter_tmx_pairs(content, path, languages, left_out)
        case ".xlf" | ".xliff":
            return iter_xliff_pairs(content, path, languages, left_out)
        case _:
            return iter_catalog_pairs(content, path, languages, left_out)
