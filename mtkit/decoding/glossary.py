"""Terminology: how certain words of the source are to be translated, from a TSV file."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtkit.corpus.text_files import iter_line_chunks
from mtkit.decoding.splitting import UNSPACED
from mtkit.errors import DataError

TermGroup = tuple[str, ...]

_CHUNK_LINES = 10_000
_MAX_REPORTED = 10
_HEADER = ("source", "target")
_FIX = "write the source term, a tab, and the target term, or several with ' | ' between them"
_CONTENT = "a source term, a tab, and a target term a line"
_BAR = re.compile(r"(?<!\S)\|(?!\S)")
_ASCII_WORDS = re.compile(r" ?(?:\w+|.)")
_END = None  # the key, in the trie, of what a source term is translated by


class Glossary:
    """Source terms and their translations.

    A source term occurs in a line where its words do, whole, one after another, in any case. Where terms overlap, the
    one that begins first counts, and of those that begin at one place the longest. A word is a run of letters, digits
    and the marks on them; what stands beside it (a hyphen, an apostrophe) is none of it, so that `mail` occurs in
    `e-mail`. In scripts that are written without spaces every character is a word, so that terms occur anywhere.

    Args:
        terms: Alternative target terms by source term.
    """

    def __init__(self, terms: dict[str, TermGroup]) -> None:
        self._trie: dict[Any, Any] = {}
        merged: dict[tuple[str, ...], dict[str, None]] = {}
        for term, targets in terms.items():
            merged.setdefault(tuple(_split_words(term)), {}).update(dict.fromkeys(targets))
        for words, group in merged.items():
            node = self._trie
            for word in words:
                node = node.setdefault(word, {})
            node[_END] = (words, tuple(group))
        # A term's first word may have a space before it, in a line.
        self._trie |= {f" {word}": node for word, node in self._trie.items()}
        self.num_terms = len(merged)

    def find(self, source_line: str) -> tuple[TermGroup, ...]:
        """Return the target terms of each source term of a line, in the order of the line, each term once."""
        words = _split_words(source_line)
        found: dict[tuple[str, ...], TermGroup] = {}
        first = 0
        while first < len(words):
            node = self._trie.get(words[first])
            first += 1
            behind = first
            entry = None
            while node is not None:
                if _END in node:
                    entry, first = node[_END], behind
                node = node.get(words[behind]) if behind < len(words) else None
                behind += 1
            if entry is not None:
                found[entry[0]] = entry[1]
        return tuple(found.values())


def read_glossary(path: Path) -> Glossary:
    """Read a glossary: a TSV file, UTF-8, also compressed, with a source term and a target term in each line.

    Alternative target terms stand in lines of their own or in one, as `term | term`. A first line `source<TAB>target`
    is a header. Empty lines do not count; there are no comments, and quotes mean nothing.

    Raises:
        DataError: The file cannot be read, or a line has not two terms.
    """
    terms: dict[str, TermGroup] = {}
    problems: list[DataError] = []
    number = 0
    for chunk in iter_line_chunks(path, _CHUNK_LINES, content=_CONTENT):
        for line in chunk:
            number += 1
            fields = [" ".join(field.split()) for field in line.split("\t")]
            if not any(fields) or (number == 1 and tuple(map(str.lower, fields)) == _HEADER):
                continue
            problem = _find_problem(fields)
            if problem is None:
                source, target = fields
                terms[source] = (*terms.get(source, ()), *_split_alternatives(target))
            elif len(problems) < _MAX_REPORTED:
                problems.append(DataError(problem, at=f"{path}:{number}", fix=_FIX))
    if problems:
        first, *others = problems
        raise DataError(first.message, at=first.at, fix=first.fix, also=tuple(others))
    return Glossary(terms)


def _find_problem(fields: Sequence[str]) -> str | None:
    """Return what is wrong with the fields of a line, None where nothing is."""
    if len(fields) != len(_HEADER):
        return f"{len(fields)} column{'s' * (len(fields) > 1)} instead of two"
    source, target = fields
    if not source:
        return "no source term"
    return None if all(_split_alternatives(target)) else "an empty target term"


def _split_alternatives(text: str) -> list[str]:
    """Split at bars that have white space, or nothing, on both sides."""
    return [alternative.strip() for alternative in _BAR.split(text)]


def count_kept(translation_text: str, groups: Sequence[TermGroup]) -> int:
    """Return how many groups have one of their terms in a translation.

    A term counts as it is spelled in the glossary, or with its first letter in upper case, as at the beginning of a
    sentence; `US` is not kept by `us`. It must begin where a word begins (in scripts without spaces, anywhere), but the
    word may go on behind it: endings and compounds count, as they do for what the search is held to.

    Args:
        translation_text: One line.
        groups: What `Glossary.find` gave for the source.
    """
    text = _normalize(translation_text)
    return sum(any(_occurs(_normalize(term), text) for term in group) for group in groups)


def _occurs(term: str, text: str) -> bool:
    spellings = {term, term[:1].upper() + term[1:]}
    return any(is_word_edge(text, place) for spelling in spellings for place in _iter_places(spelling, text))


def _iter_places(term: str, text: str) -> list[int]:
    return [match.start() for match in re.finditer(f"(?={re.escape(term)})", text)]


def is_word_edge(text: str, place: int) -> bool:
    """Return whether no word reaches over the place before a character."""
    return place == 0 or not _is_within_word(text[place - 1 : place + 1])


@functools.lru_cache(maxsize=1 << 14)
def _is_within_word(characters: str) -> bool:
    return _compile_word().fullmatch(characters) is not None


def _normalize(text: str) -> str:
    """Compose characters, and make runs of white space a single space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _split_words(text: str) -> list[str]:
    """Return the words and other characters of a text, case folded, with the space that stands before them."""
    folded = _normalize(text).casefold()
    # Plain text needs neither marks nor scripts, and is four times as fast without.
    return _ASCII_WORDS.findall(folded) if folded.isascii() else _compile_words().findall(folded)


@functools.cache
def _compile_words() -> re.Pattern[str]:
    """Return what finds words, with the space before them; what is no word comes character by character."""
    return re.compile(f" ?(?:{_word_pattern()}|[{_unspaced()}][{_marks()}]*|.)")


@functools.cache
def _compile_word() -> re.Pattern[str]:
    return re.compile(_word_pattern())


def _word_pattern() -> str:
    letter = rf"[^\W{_unspaced()}]"
    return rf"{letter}+(?:[{_marks()}]+{letter}*)*"


def _unspaced() -> str:
    """Return the characters of scripts that are written without spaces, as they stand in a class."""
    return UNSPACED.pattern.removeprefix("[").removesuffix("]")


@functools.cache
def _marks() -> str:
    """Return the combining marks and joiners, as they stand in a class: Python does not count them to a word."""
    marks = (chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    return "".join(marks) + "\u200c\u200d"
