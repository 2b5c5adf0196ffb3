"""What translators keep as training text: gettext catalogs, TMX and XLIFF files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from mtkit.corpus.bilingual_xml import Pair
from mtkit.corpus.gettext_files import iter_catalog_pairs, read_target_language
from mtkit.corpus.language_tags import Languages
from mtkit.corpus.reading import Lines, Reading
from mtkit.corpus.text_files import open_bytes, strip_compression
from mtkit.corpus.tmx_pairs import find_tmx_languages, iter_tmx_pairs
from mtkit.corpus.xliff_pairs import find_xliff_languages, iter_xliff_pairs
from mtkit.runtime import console

CATALOGS = frozenset({".po", ".pot"})
_XLIFF = frozenset({".xlf", ".xliff", ".sdlxliff", ".mqxliff"})
SUFFIXES = CATALOGS | _XLIFF | {".tmx"}


def read_memory(path: Path, languages: Languages, chunk_pairs: int, reading: Reading) -> Iterator[Lines]:
    """Yield the pairs of a catalog, a translation memory or an XLIFF file in chunks.

    Texts lose their inline codes (`<g>`, `<bpt>`) and line breaks; placeholders and tags that are text stay.
    What is obsolete, fuzzy, in need of review, untranslated, or marked as a machine's translation is left out and
    counted.

    Args:
        path: The file; its suffix names the format.
        languages: Source and target language of the corpus.
        chunk_pairs: Pairs in a chunk, at most.
        reading: Is told the share that has been read, and what was left out.

    Raises:
        DataError: The file is missing or damaged, or in other languages.
    """
    has_pairs = False
    pairs = _iter_pairs(path, languages, reading.left_out)
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
    match strip_compression(path).suffix.lower():
        case ".tmx":
            return find_tmx_languages(path)
        case suffix if suffix in _XLIFF:
            return find_xliff_languages(_read(path), path)
        case _:
            return None, read_target_language(_read(path), path)


def _read(path: Path) -> bytes:
    with open_bytes(path) as (stream, _):
        return stream.read()


def _iter_pairs(path: Path, languages: Languages, left_out: Counter[str]) -> Iterator[Pair]:
    match strip_compression(path).suffix.lower():
        case ".tmx":
            return iter_tmx_pairs(path, languages, left_out)
        case suffix if suffix in _XLIFF:
            return iter_xliff_pairs(_read(path), path, languages, left_out)
        case _:
            return iter_catalog_pairs(_read(path), path, languages, left_out)
