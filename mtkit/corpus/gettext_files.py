"""Gettext catalogs (PO, POT) as polib reads them."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from mtkit.corpus.bilingual_xml import Pair, find_direction
from mtkit.corpus.language_tags import Languages
from mtkit.errors import DataError
from mtkit.runtime.extras import import_extra

_LINE = re.compile(r"\(line (\d+)\)")
_PARAGRAPHS = re.compile(r"\n[^\S\n]*(?:\n\s*|(?=[-*•]\s))")
_CHARSET = re.compile(rb"charset=([\w.:-]+)")
_HEADER = re.compile(rb'.*?^msgid "".*?\n[^\S\n]*(?=\r?\n)', re.DOTALL | re.MULTILINE)
# The sign of a comment that no blank follows.
_SIGN = re.compile(r"^#(?:[:,.]|~?\||~(?!\|)|(?![:,.~|]))(?=\S)")
# Signs of old messages; by themselves they are comments that say nothing, which polib takes for damage.
_OLD = frozenset({"#|", "#~"})
# A line of a message, also of an obsolete or a previous one, up to its strings; a string; what polib reads of escapes.
_BEFORE_STRINGS = re.compile(r'(?:#[~|]\s*)?(?:msg[a-z_]+(?:\[\d+\])?\s*|(?="))')
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_STRINGS = re.compile(rf"(?:{_STRING.pattern}\s*)+")
_ESCAPE = re.compile(r"\\(.)")
_KNOWN_ESCAPES = frozenset('ntrvbf"\\')


def read_catalog(content: bytes, name: str | Path, *, is_written: bool = False) -> Any:
    """Return a catalog as a `polib.POFile`.

    Args:
        content: Of the file, not compressed.
        name: Of the file, for messages.
        is_written: Whether it is to be written again, and so refused if polib would write something else.

    Raises:
        DataError: The file is damaged.
        RecipeError: polib is missing.
    """
    polib = import_extra("polib", "formats", "reading gettext catalogs", name)
    declared = _CHARSET.search(content)
    encoding = declared[1].decode() if declared and declared[1] != b"CHARSET" else "utf-8"
    try:
        text = _spell_for_polib(content.decode(encoding), name, is_written)
    except LookupError as exc:
        raise DataError(f"its header names no encoding: {encoding}", at=name, fix="write charset=UTF-8 there") from exc
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise DataError(
            f"not {encoding}: byte 0x{content[exc.start]:02x}",
            at=f"{name}:{line}",
            fix="correct the charset in the header, or the line",
        ) from exc
    with tempfile.TemporaryDirectory() as folder:  # of a text that it gets as such, polib splits the lines otherwise
        file = Path(folder, "catalog.po")
        file.write_text(text, encoding=encoding)
        try:
            catalog = polib.pofile(str(file), encoding=encoding)
        except (OSError, ValueError, IndexError) as exc:
            found = _LINE.search(str(exc))
            at = f"{name}:{found[1]}" if found else str(name)
            raise DataError(
                "no gettext catalog, or a damaged one", at=at, fix="correct it (msgfmt -c shows more)"
            ) from exc
    catalog.fpath = None
    if content.strip() and not catalog and not catalog.metadata:
        raise DataError("there is no message in it", at=name, fix="give a gettext catalog (.po or .pot)")
    return catalog


def _spell_for_polib(text: str, name: str | Path, is_written: bool) -> str:
    """Return a catalog as polib wants it: blanks after signs and keywords, and of the strings of a line one.

    What polib would read as something else is refused: strings without their quotes, escapes that it does not know. Of
    a catalog that is only read, old messages do not matter, nor an escape.
    """
    read = (line.strip() for line in StringIO(text.removeprefix("\ufeff"), newline=None))
    lines = ["" if line in _OLD else _SIGN.sub(r"\g<0> ", line) for line in read]
    for place, line in enumerate(lines):
        start = _BEFORE_STRINGS.match(line)
        if start is None:
            continue
        strings = line[start.end() :]
        if is_written or not line.startswith("#"):
            _check_strings(strings, f"{name}:{place + 1}", is_written)
        if _STRINGS.fullmatch(strings):
            lines[place] = f'{start[0]} "{"".join(_STRING.findall(strings))}"'
    return "\n".join(lines)


def _check_strings(strings: str, at: str, is_written: bool) -> None:
    if _STRINGS.fullmatch(strings) is None:
        raise DataError(
            "a string is damaged: it lacks a double quote at an end, or has one inside that is not escaped",
            at=at,
            fix="correct it (msgfmt -c shows more)",
        )
    for escape in _ESCAPE.finditer(strings) if is_written else ():
        if escape[1] not in _KNOWN_ESCAPES:
            raise DataError(
                f"polib does not know the escape {escape[0]}", at=at, fix="write the character itself in its place"
            )


def iter_catalog_pairs(
    content: bytes, name: str | Path, languages: Languages, left_out: Counter[str]
) -> Iterator[Pair]:
    """Yield the translations of a catalog as pairs; see `translation_memory`.

    Of a plural message come the singular with the form for one, and the plural with the last form. Messages of several
    paragraphs come paragraph by paragraph, if the translation has as many.

    Args:
        content: Of the file.
        name: Of the file, for messages.
        languages: Source and target language of the corpus. If the catalog says that it is a translation into the
            source language, its sides are swapped.
        left_out: Is added to: messages that are obsolete, fuzzy or untranslated.

    Raises:
        DataError: The file is damaged, or a translation into a third language.
    """
    catalog = read_catalog(content, name)
    is_swapped = find_direction((None, find_language(catalog)), languages, name)
    for entry in catalog:
        if entry.obsolete:
            left_out["obsolete"] += 1
        elif entry.fuzzy:
            left_out["fuzzy"] += 1
        elif not is_translated(entry):
            left_out["untranslated"] += 1
        else:
            for source, target in _iter_forms(entry):
                for pair in split_alike(source, target):
                    yield pair[::-1] if is_swapped else pair


def is_translated(entry: Any) -> bool:
    """Return whether no form of a message's translation is empty, fuzzy or not."""
    if entry.msgid_plural:
        return bool(entry.msgstr_plural) and all(form.strip() for form in entry.msgstr_plural.values())
    return bool(entry.msgstr.strip())


def read_target_language(content: bytes, name: str | Path) -> str | None:
    """Return the language that a catalog is a translation into, by its header alone: the first message.

    Raises:
        DataError: The header is damaged.
        RecipeError: polib is missing.
    """
    header = _HEADER.match(content)
    return find_language(read_catalog(header[0] if header else content, name))


def find_language(catalog: Any) -> str | None:
    """Return the language that a catalog is a translation into, as its header has it."""
    language = catalog.metadata.get("Language", "").strip().replace("_", "-").partition("@")[0]
    return language or None


def split_paragraphs(text: str) -> list[str]:
    """Return paragraphs and list items, and what stands between them: at odd indexes."""
    parts: list[str] = []
    end = 0
    for match in _PARAGRAPHS.finditer(text):
        parts += [text[end : match.start()], match[0]]
        end = match.end()
    return [*parts, text[end:]]


def split_alike(source: str, target: str) -> list[Pair]:
    """Return the paragraphs of two texts side by side; if they have not as many, the texts, on one line each."""
    sources, targets = split_paragraphs(source)[::2], split_paragraphs(target)[::2]
    if len(sources) != len(targets):
        sources, targets = [source], [target]
    flat = [(" ".join(s.split()), " ".join(t.split())) for s, t in zip(sources, targets, strict=True)]
    return [(s, t) for s, t in flat if s or t]


def _iter_forms(entry: Any) -> Iterator[Pair]:
    if not entry.msgid_plural:
        yield entry.msgid, entry.msgstr
        return
    forms = entry.msgstr_plural
    if len(forms) > 1:
        yield entry.msgid, forms[min(forms)]
    yield entry.msgid_plural, forms[max(forms)]
