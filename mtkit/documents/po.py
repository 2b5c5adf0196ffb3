"""Gettext catalogs, filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtkit.corpus.gettext_files import find_language, is_translated, read_catalog, split_paragraphs
from mtkit.corpus.language_tags import is_same_language
from mtkit.documents.accelerators import put_accelerator, take_accelerator
from mtkit.documents.document import MarkingDocument, Protected, Segment, TranslatedSegment
from mtkit.documents.options import DocumentOptions
from mtkit.documents.placeholders import find_placeholders
from mtkit.documents.plurals import PluralForms, find_rule, parse_plural_forms
from mtkit.errors import DataError

_UTF_8 = "text/plain; charset=UTF-8"


@dataclass(frozen=True)
class _Text:
    """One form of a message, as segments.

    Attributes:
        segments: Indexes of its paragraphs among the document's segments.
        between: What stands between the paragraphs.
        key: Its access key, taken out; None for none.
        breaks: Whether it begins, and whether it ends with a line break.
    """

    segments: range
    between: tuple[str, ...]
    key: str | None
    breaks: tuple[bool, bool]


@dataclass(frozen=True)
class _Message:
    """A message that is filled: the forms of its source, and, of each plural form, which of them it gets."""

    entry: Any
    texts: tuple[_Text, ...]
    forms: tuple[int, ...] = ()


class Catalog(MarkingDocument):
    """A gettext catalog; written as polib writes it.

    Args:
        content: Of the file.
        name: Of the file, for messages.
        options: What to fill, and how.

    Raises:
        DataError: The file is damaged, or a translation into another language than the model's.
    """

    unwritten_because = "as a line break would come first or last"

    def __init__(self, content: bytes, name: str | Path = "catalog", options: DocumentOptions | None = None) -> None:
        super().__init__()
        self.unwritten: list[int] = []
        self._options = options or DocumentOptions()
        self._catalog = read_catalog(content, name, is_written=True)
        self._newline = "\r\n" if b"\r\n" in content else "\n"
        self._check_language(name)
        self._mark = self._options.accelerator or self._catalog.metadata.get("X-Accelerator-Marker", "").strip() or None
        self._plurals = self._find_plurals()
        self._messages = [self._read(entry) for entry in self._catalog if self._is_wanted(entry)]

    def render(self, translations: Sequence[TranslatedSegment | None]) -> bytes:
        """Return the catalog with translations in it; a message that lacks one of them stays as it is.

        So does one whose translation begins or ends with a line break and whose source does not, or the other way
        round, which msgfmt refuses; `unwritten` says so. A catalog whose charset lacks a character of a translation
        becomes UTF-8, and says so in its header.
        """
        changed = False
        self.unwritten = []
        for message in self._messages:
            texts = [self._render_text(text, translations) for text in message.texts]
            places = [place for text in message.texts for place in text.segments]
            if None not in texts:
                self._fill(message, [text or "" for text in texts])
                changed = True
            elif any(place in self._untranslated or place in self.unwritten for place in places):
                _set_fuzzy(message.entry, True)
        if changed:
            self._complete_header()
        try:
            return self._encode(self._catalog.encoding)
        except UnicodeEncodeError:
            self._catalog.metadata["Content-Type"] = _UTF_8
            return self._encode("utf-8")

    def _encode(self, encoding: str) -> bytes:
        text = str(self._catalog)
        if not text.isascii() and "charset=" not in self._catalog.metadata.get("Content-Type", ""):
            self._catalog.metadata["Content-Type"] = _UTF_8
            text = str(self._catalog)
        return text.replace("\n", self._newline).encode(encoding)

    def _check_language(self, name: str | Path) -> None:
        own, wanted = find_language(self._catalog), self._options.target_language
        if not is_same_language(own, wanted):
            raise DataError(
                f"the catalog is a translation into {own}, the model translates into {wanted}",
                at=name,
                fix="give a model of that language, or correct the field Language of the catalog's header",
            )

    def _find_plurals(self) -> PluralForms:
        known = parse_plural_forms(self._catalog.metadata.get("Plural-Forms", ""))
        language = self._options.target_language or find_language(self._catalog)
        return known or parse_plural_forms(find_rule(language) or "") or PluralForms(2, 0, True)

    def _is_wanted(self, entry: Any) -> bool:
        if entry.obsolete or not entry.msgid:
            return False
        fill = self._options.fill
        return fill == "all" or not is_translated(entry) or (fill == "fuzzy" and entry.fuzzy)

    def _read(self, entry: Any) -> _Message:
        place = f"line {entry.linenum}"
        if not entry.msgid_plural:
            return _Message(entry, (self._read_text(entry.msgid, place),))
        plurals = self._plurals
        both = [_names(text) for text in (entry.msgid, entry.msgid_plural)]
        # A form that also serves 21 must not lack the number that the singular may leave out.
        has_singular = plurals.count > 1 and (plurals.is_only_for_one or both[0] == both[1])
        texts = [self._read_text(entry.msgid, place)] if has_singular else []
        texts.append(self._read_text(entry.msgid_plural, place))
        forms = tuple(0 if form == plurals.of_one else len(texts) - 1 for form in range(plurals.count))
        return _Message(entry, tuple(texts), forms)

    def _read_text(self, text: str, place: str) -> _Text:
        text, key = take_accelerator(text, self._mark)
        parts = split_paragraphs(text)
        first = len(self._segments)
        self._segments += [Segment(find_placeholders(part), place) for part in parts[::2]]
        return _Text(range(first, len(self._segments)), tuple(parts[1::2]), key, _find_breaks(text))

    def _render_text(self, text: _Text, translations: Sequence[TranslatedSegment | None]) -> str | None:
        rendered: list[str] = []
        for place, between in zip(text.segments, (*text.between, ""), strict=True):
            translation = translations[place]
            if translation is None:
                return None
            rendered += [*self._write(translation, None if rendered else text.key), between]
        written = "".join(rendered)
        if _find_breaks(written) == text.breaks:
            return written
        self.unwritten += text.segments
        return None

    def _write(self, translation: TranslatedSegment, key: str | None) -> list[str]:
        """Return the parts as text, with the access key in the first plain one that has letters."""
        written = []
        for part in translation:
            plain = part.text if isinstance(part, Protected) else part
            if key and self._mark and isinstance(part, str) and any(map(str.isalpha, part)):
                plain, key = put_accelerator(plain, self._mark, key), None
            written.append(plain)
        return written

    def _fill(self, message: _Message, texts: Sequence[str]) -> None:
        entry = message.entry
        if message.forms:
            replaces = self._options.fill == "all" or (self._options.fill == "fuzzy" and entry.fuzzy)
            there = {} if replaces else {int(n): form for n, form in entry.msgstr_plural.items() if form.strip()}
            entry.msgstr_plural = {form: there.get(form, texts[source]) for form, source in enumerate(message.forms)}
        else:
            entry.msgstr = texts[0]
        _set_fuzzy(entry, self._options.marks)
        if not self._options.marks:
            entry.previous_msgid = entry.previous_msgctxt = entry.previous_msgid_plural = None

    def _complete_header(self) -> None:
        """Say in the header of a template what a catalog must say: language and plural forms."""
        metadata, language = self._catalog.metadata, self._options.target_language
        if language and "Language" in metadata and not metadata["Language"].strip():
            metadata["Language"] = language.replace("-", "_")
        has_plurals = any(message.forms for message in self._messages)
        rule = find_rule(language or find_language(self._catalog))
        if (
            rule
            and (has_plurals or "Plural-Forms" in metadata)
            and not parse_plural_forms(metadata.get("Plural-Forms", ""))
        ):
            metadata["Plural-Forms"] = rule
        if metadata.get("Content-Type", "").endswith("charset=CHARSET"):
            metadata["Content-Type"] = _UTF_8


def read_po(content: bytes, name: str | Path = "catalog", options: DocumentOptions | None = None) -> Catalog:
    """Return a gettext catalog (PO or POT); see `Catalog`.

    Raises:
        DataError: The file is damaged, or a translation into another language than the model's.
    """
    return Catalog(content, name, options)


def _set_fuzzy(entry: Any, is_fuzzy: bool) -> None:
    flags = [flag for flag in entry.flags if flag != "fuzzy"]
    entry.flags = ["fuzzy", *flags] if is_fuzzy else flags


def _find_breaks(text: str) -> tuple[bool, bool]:
    return text.startswith("\n"), text.endswith("\n")


def _names(text: str) -> list[str]:
    return sorted(part.text for part in find_placeholders(text) if isinstance(part, Protected))
