"""Which languages a corpus is in, where nobody says so."""

from __future__ import annotations

import re
from pathlib import Path

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.corpus.bilingual_xml import find_direction
from mtkit.corpus.language_tags import Languages, is_same_language
from mtkit.corpus.text_files import strip_compression
from mtkit.corpus.translation_memory import CATALOGS, SUFFIXES, read_languages
from mtkit.errors import DataError

# `en`, `pt-BR` or `zh_CN`. Codes of three letters are not guessed: too many suffixes look like one.
_PLAUSIBLE = re.compile(r"[a-z]{2}(?:[-_](?:[A-Z]{2}|[A-Z][a-z]{3}))?")


def find_languages(corpus: CorpusSection) -> Languages:
    """Return the source and target language: as given, else by the suffixes or columns of the training text.

    `train.en` and `train.de.gz` are taken for English and German, columns `en` or `translation.en` alike; catalogs and
    translation memories tell themselves. None where that does not tell.

    Raises:
        DataError: A catalog or translation memory is missing or damaged.
    """
    if corpus.source_language and corpus.target_language:  # a memory is a large file, and need not be read for this
        return corpus.source_language, corpus.target_language
    guessed: Languages = (None, None)
    if corpus.train:
        source, target = (_guess(name) for name in _telling_names(corpus.train[0]))
        if source and target and source != target:
            guessed = (source, target)
        path = corpus.train[0].path
        if path is not None and _suffix_of(path) in SUFFIXES:
            guessed = _turn(read_languages(path), (corpus.source_language, corpus.target_language))
    return corpus.source_language or guessed[0], corpus.target_language or guessed[1]


def check_catalogs(corpus: CorpusSection, languages: Languages) -> list[str]:
    """Return a warning where the sides of some catalogs are swapped, and those of others are not.

    A catalog tells only which language it is a translation into; which one it is a translation of nobody can check.

    Args:
        corpus: Where the catalogs are, among the training text.
        languages: Of the corpus, as found.

    Raises:
        DataError: The catalogs are of several languages, and the corpus names but one of its own; or one is damaged.
    """
    paths = [source.path for source in corpus.train if source.path and _suffix_of(source.path) in CATALOGS]
    if len(paths) < 2:
        return []
    told = {path: language for path in paths if (language := read_languages(path)[1])}
    turned = [path for path in told if find_direction((None, told[path]), languages, path)]
    kept = [path for path in told if path not in turned]
    if turned and kept:
        one, other = turned[0], kept[0]
        if corpus.source_language and corpus.target_language:
            return [
                f"{one} (into {told[one]}) is read with its sides swapped, {other} (into {told[other]}) is not: "
                "leave one out, unless each is a translation of the other's language"
            ]
    elif languages[1] is None and (
        differing := [path for path in kept if not is_same_language(told[path], told[kept[0]])]
    ):
        one, other = kept[0], differing[0]
    else:
        return []
    raise DataError(
        f"catalogs of several languages: this one is into {told[other]}, {one} into {told[one]}",
        at=other,
        fix="leave one out, or name both languages: --source-language and --target-language",
    )


def _turn(told: Languages, wanted: Languages) -> Languages:
    """Return the languages of a file as they are, or swapped if only that fits the one language that is wanted."""
    side, language = (0, wanted[0]) if wanted[0] else (1, wanted[1])
    here, there = told[side], told[1 - side]
    fits = here is not None and is_same_language(here, language)
    fits_swapped = language is not None and there is not None and is_same_language(there, language)
    return told[::-1] if fits_swapped and not fits else told


def _telling_names(source: TextSource) -> tuple[str, str]:
    """Return the file suffixes or column names of both sides."""
    if source.source and source.target:
        return _suffix(source.source), _suffix(source.target)
    if source.columns:
        return source.columns[0].rpartition(".")[2], source.columns[1].rpartition(".")[2]
    return "", ""


def _suffix_of(path: Path) -> str:
    return strip_compression(path).suffix.lower()


def _suffix(path: Path) -> str:
    return strip_compression(path).suffix.removeprefix(".")


def _guess(name: str) -> str | None:
    return name.replace("_", "-") if _PLAUSIBLE.fullmatch(name) else None
