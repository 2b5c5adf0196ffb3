"""XLIFF 1.2 and 2.0, with targets."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtkit.corpus.bilingual_xml import (
    find_child,
    find_segments,
    find_xliff_version,
    has_content,
    has_other_segments,
    is_undivided,
    is_untranslatable,
    iter_named,
    iter_segments,
    local_name,
    parse_xml,
)
from mtkit.corpus.language_tags import is_same_language
from mtkit.documents.document import MarkingDocument, Segment, TranslatedSegment
from mtkit.documents.inline_xml import fill_inline, split_inline
from mtkit.documents.options import DocumentOptions
from mtkit.documents.xml_output import append_indented, write_tree
from mtkit.errors import DataError

_XML_SPACE = "{http://www.w3.org/XML/1998/namespace}space"


@dataclass(frozen=True)
class _Unit:
    """A segment of the file.

    Attributes:
        holder: The `trans-unit` or `segment`, in which the target stands or is to stand.
        source: The element with its source.
        mid: Of XLIFF 1.2 with `seg-source`: the number of the segment.
        has_siblings: Whether others share its holder, and so its state.
        is_undivided: Whether the target of its holder is translated as a whole.
        is_split: Whether the target of its holder has text in segments that its source does not have.
    """

    holder: Any
    source: Any
    mid: str | None = None
    has_siblings: bool = False
    is_undivided: bool = False
    is_split: bool = False


class Xliff(MarkingDocument):
    """An XLIFF file; written as lxml writes it.

    Args:
        content: Of the file.
        name: Of the file, for messages.
        options: What to fill, and how.

    Raises:
        DataError: The file is damaged, no XLIFF, or in other languages than the model's.
    """

    def __init__(self, content: bytes, name: str | Path = "document", options: DocumentOptions | None = None) -> None:
        super().__init__()
        self._options = options or DocumentOptions()
        # Of targets their segments, by number.
        self._marks: dict[Any, dict[str, Any]] = {}
        self._content = content
        self._tree = parse_xml(content, name)
        self._version = find_xliff_version(self._tree, name)
        self._namespace = self._tree.getroot().nsmap.get(self._tree.getroot().prefix)
        self._check_languages(name)
        units = self._iter_units_1() if self._version == 1 else self._iter_units_2()
        self._units = [unit for unit in units if self._is_wanted(unit)]
        self._pending = {(unit.holder, unit.mid) for unit in self._units}
        # Holders whose targets are to be divided as their sources are, once one of their segments is filled.
        self._undivided = {unit.holder for unit in self._units if unit.is_undivided or self._is_replaced_split(unit)}
        self._segments = [Segment(split_inline(u.source), f"line {u.source.sourceline}") for u in self._units]

    def render(self, translations: Sequence[TranslatedSegment | None]) -> bytes:
        """Return the file with targets in it; a unit whose translation is None stays as it is.

        But of a target that was translated as a whole and is divided now, such a segment is empty.
        """
        is_whole: dict[Any, bool] = {}
        for place, (unit, translation) in enumerate(zip(self._units, translations, strict=True)):
            if translation is not None:
                fill_inline(self._get_target(unit), translation)
            if translation is not None or place in self._untranslated:
                is_whole[unit.holder] = is_whole.get(unit.holder, True) and translation is not None
        filled = "needs-review-translation" if self._options.marks else "translated"
        for holder, whole in is_whole.items():
            self._set_state(holder, filled if whole else "needs-translation")
        if any(translation is not None for translation in translations):
            self._set_target_language()
        return write_tree(self._tree, self._content)

    def _check_languages(self, name: str | Path) -> None:
        fields = ("source-language", "target-language") if self._version == 1 else ("srcLang", "trgLang")
        wanted = (self._options.source_language, self._options.target_language)
        for holder in self._get_holders():
            own = tuple(holder.get(field) for field in fields)
            if not all(is_same_language(*pair) for pair in zip(own, wanted, strict=True)):
                raise DataError(
                    f"the file is {own[0] or '?'} to {own[1] or '?'}, the model translates {wanted[0] or '?'} to "
                    f"{wanted[1] or '?'}",
                    at=f"{name}:{holder.sourceline}",
                    fix="give a model of these languages, or correct the file",
                )

    def _get_holders(self) -> list[Any]:
        root = self._tree.getroot()
        return list(iter_named(root, "file")) if self._version == 1 else [root]

    def _set_target_language(self) -> None:
        field = "target-language" if self._version == 1 else "trgLang"
        for holder in self._get_holders():
            if self._options.target_language and not holder.get(field):
                holder.set(field, self._options.target_language)

    def _iter_units_1(self) -> Iterator[_Unit]:
        for holder in iter_named(self._tree.getroot(), "trans-unit"):
            source = find_child(holder, "source")
            if source is None or is_untranslatable(holder):
                continue
            segmented = find_child(holder, "seg-source")
            marks = {} if segmented is None else find_segments(segmented)
            if not marks:
                yield _Unit(holder, source)
                continue
            target = find_child(holder, "target")
            shared = {
                "has_siblings": len(marks) > 1,
                "is_undivided": target is not None and is_undivided(target, segmented),
                "is_split": target is not None and has_other_segments(target, segmented),
            }
            yield from (_Unit(holder, mark, mid, **shared) for mid, mark in marks.items())

    def _iter_units_2(self) -> Iterator[_Unit]:
        for holder in iter_named(self._tree.getroot(), "segment"):
            source = find_child(holder, "source")
            if source is not None and not is_untranslatable(holder):
                yield _Unit(holder, source)

    def _is_wanted(self, unit: _Unit) -> bool:
        if not "".join(unit.source.itertext()).strip() and not len(unit.source):
            return False
        if self._options.fill == "all":
            return True
        target, outer = self._find_target(unit), find_child(unit.holder, "target")
        is_empty = target is None or not has_content(target)
        if is_empty and not unit.is_undivided:
            return outer is None or unit.holder.get("approved") != "yes"
        if unit.has_siblings and (unit.is_split or not is_empty):  # the state does not say which of them it is about
            return False
        state = (outer.get("state") if self._version == 1 else unit.holder.get("state")) or ""
        return self._options.fill == "fuzzy" and (state.startswith("needs-") or state in ("new", "initial"))

    def _is_replaced_split(self, unit: _Unit) -> bool:
        """Return whether a unit has a translation, of which a part may stand in segments that its source lacks."""
        target = self._find_target(unit)
        return unit.is_split and target is not None and has_content(target)

    def _find_target(self, unit: _Unit) -> Any:
        target = find_child(unit.holder, "target")
        if target is None or unit.mid is None:
            return target
        return self._find_marks(target).get(unit.mid)

    def _find_marks(self, target: Any) -> dict[str, Any]:
        """Return the segments of a target, by number."""
        if target not in self._marks:
            self._marks[target] = find_segments(target)
        return self._marks[target]

    def _get_target(self, unit: _Unit) -> Any:
        """Return the element that holds the translation of a unit; it is made where there is none."""
        target = self._find_target(unit)
        if target is not None and unit.holder not in self._undivided:
            return target
        self._undivided.discard(unit.holder)
        outer = find_child(unit.holder, "target")
        if outer is None:
            outer = self._make_target(unit.holder)
        if unit.mid is None:
            return outer
        # The segments of a unit, and what stands between them, as in its source; those that are there stay.
        there = self._marks.pop(outer, {})
        segmented = find_child(unit.holder, "seg-source")
        for child in list(outer):
            outer.remove(child)
        outer.text = segmented.text
        for child in segmented:
            outer.append(copy.deepcopy(child))
        for mark in list(iter_segments(outer)):
            mid = mark.get("mid", "")
            if mid in there or (unit.holder, mid) in self._pending:
                _copy_content(there.get(mid), mark)
        return self._find_target(unit)

    def _make_target(self, holder: Any) -> Any:
        target = holder.makeelement(f"{{{self._namespace}}}target" if self._namespace else "target")
        if space := find_child(holder, "source").get(_XML_SPACE):
            target.set(_XML_SPACE, space)
        before = next(child for child in reversed(holder) if local_name(child) in ("source", "seg-source"))
        append_indented(before, target)
        return target

    def _set_state(self, holder: Any, state: str) -> None:
        """Set the state of a unit, and take away what was said of another translation."""
        if self._version == 2:
            holder.set("state", "initial" if state == "needs-translation" else "translated")
            holder.attrib.pop("subState", None)
            return
        holder.attrib.pop("approved", None)
        target = find_child(holder, "target")
        if target is None:
            target = self._make_target(holder)
        target.set("state", state)
        if state == "needs-translation" or not self._options.marks:
            target.attrib.pop("state-qualifier", None)
        else:
            target.set("state-qualifier", "mt-suggestion")


def read_xliff(content: bytes, name: str | Path = "document", options: DocumentOptions | None = None) -> Xliff:
    """Return an XLIFF document; see `Xliff`.

    Raises:
        DataError: The file is damaged, no XLIFF, or in other languages than the model's.
    """
    return Xliff(content, name, options)


def _copy_content(element: Any, copied: Any) -> None:
    """Put what an element holds into another one in place of what that holds; nothing, if it is None."""
    for child in list(copied):
        copied.remove(child)
    copied.text = None if element is None else element.text
    for child in [] if element is None else element:
        copied.append(copy.deepcopy(child))
