"""Which languages a corpus is in, where nobody says so."""

from __future__ import annotations

import re
from pathlib import Path

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.corpus.columns import Languages
from mtkit.corpus.text_files import strip_compression
from mtkit.corpus.translation_memory import SUFFIXES, read_languages

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
        if path is not None and strip_compression(path).suffix.lower() in SUFFIXES:
            told = read_languages(path)
            if told[1] is None or told[1] != corpus.source_language:  # a catalog may be read in the other direction
                guessed = told
    return corpus.source_language or guessed[0], corpus.target_language or guessed[1]


def _telling_names(source: TextSource) -> tuple[str, str]:
    """Return the file suffixes or column names of both sides."""
    if source.source and source.target:
        return _suffix(source.source), _suffix(source.target)
    if source.columns:
        return source.columns[0].rpartition(".")[2], source.columns[1].rpartition(".")[2]
    return "", ""


def _suffix(path: Path) -> str:
    return strip_compression(path).suffix.removeprefix(".")


def _guess(name: str) -> str | None:
    return name.replace("_", "-") if _PLAUSIBLE.fullmatch(name) else None
