"""Translation memories, with the variants of another language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtkit.corpus.bilingual_xml import (
    XML_LANG,
    check_tmx,
    find_child,
    find_variants,
    get_language,
    iter_named,
    local_name,
    parse_xml,
)
from mtkit.corpus.language_tags import is_same_language
from mtkit.documents.document import Segment, TranslatedSegment
from mtkit.documents.inline_xml import fill_inline, split_inline
from mtkit.documents.options import DocumentOptions
from mtkit.documents.xml_output import append_indented, write_tree
from mtkit.errors import DataError

# What a variant says of how its text came about.
_HISTORY = ("creationtool", "creationtoolversion", "creationid", "creationdate", "changeid", "changedate")


class TranslationMemory:
    """A TMX file; written as lxml writes it.

    What was filled is told from what people translated by the attribute `creationtool` of its variant.

    Args:
        content: Of the file.
        name: Of the file, for messages.
        options: What to fill, and how; the target language is needed.

    Raises:
        DataError: The file is damaged, no TMX, or the target language is not known.
    """

    def __init__(self, content: bytes, name: str | Path = "memory", options: DocumentOptions | None = None) -> None:
        self._options = options or DocumentOptions()
        if self._options.target_language is None:
            raise DataError(
                "the model does not say into which language it translates, and a TMX file needs that",
                at=name,
                fix="say it with --target-language",
            )
        self._content = content
        self._tree = parse_xml(content, name)
        root = check_tmx(self._tree, name)
        header = find_child(root, "header")
        self._default = None if header is None else header.get("srclang")
        # New variants say their language as those that are there do: `de-DE`, say, where the model says `de`.
        wanted = self._options.target_language
        known = dict.fromkeys(filter(None, map(get_language, iter_named(root, "tuv"))))
        self._tag = wanted if wanted in known else next((tag for tag in known if is_same_language(tag, wanted)), wanted)
        self._sources: list[Any] = []
        self._segments: list[Segment] = []
        for unit in iter_named(root, "tu"):
            source, target = self._find(unit)
            if source is None or not _has_content(source):
                continue
            if target is None or not _has_content(target) or self._options.fill == "all":
                segment = find_child(source, "seg")
                self._sources.append(source)
                self._segments.append(Segment(split_inline(segment), f"line {segment.sourceline}"))

    @property
    def segments(self) -> Sequence[Segment]:
        """The sources that have no translation."""
        return self._segments

    def render(self, translations: Sequence[TranslatedSegment | None]) -> bytes:
        """Return the memory with translations in it; a unit whose translation is None stays as it is."""
        for source, translation in zip(self._sources, translations, strict=True):
            if translation is not None:
                variant = self._get_variant(source)
                fill_inline(find_child(variant, "seg"), translation)
                for name in _HISTORY:
                    variant.attrib.pop(name, None)
                if self._options.marks:
                    variant.set("creationtool", "mtkit")
        return write_tree(self._tree, self._content)

    def _find(self, unit: Any) -> tuple[Any, Any]:
        return find_variants(unit, self._options.source_language, self._options.target_language, self._default)

    def _get_variant(self, source: Any) -> Any:
        """Return the variant of the target language; it is made where there is none, laid out as that of the source."""
        _, variant = self._find(source.getparent())
        if variant is not None:
            return variant
        name = source.tag.removesuffix("tuv")
        variant = source.makeelement(source.tag, {XML_LANG: self._tag})
        segment = variant.makeelement(f"{name}seg")
        variant.append(segment)
        first = find_child(source, "seg")
        variant.text = source.text if len(source) and source[0] is first else None
        segment.tail = first.tail
        last = [child for child in source.getparent() if local_name(child) == "tuv"][-1]
        append_indented(last, variant)
        return variant


def read_tmx(content: bytes, name: str | Path = "memory", options: DocumentOptions | None = None) -> TranslationMemory:
    """Return a translation memory; see `TranslationMemory`.

    Raises:
        DataError: The file is damaged, no TMX, or the target language is not known.
    """
    return TranslationMemory(content, name, options)


def _has_content(variant: Any) -> bool:
    segment = find_child(variant, "seg")
    return bool(len(segment) or (segment.text or "").strip())
