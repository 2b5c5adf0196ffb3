"""XLIFF 1.2 and 2.0 as pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtkit.corpus.bilingual_xml import (
    Pair,
    find_child,
    find_direction,
    find_segments,
    find_xliff_version,
    get_text,
    has_content,
    has_other_segments,
    is_undivided,
    is_untranslatable,
    iter_named,
    iter_segments,
    parse_xml,
)
from mtkit.corpus.language_tags import Languages

# Of XLIFF 1.2: a machine's translation, and what says that a person stands for it all the same.
_BY_MACHINE = frozenset({"mt-suggestion", "leveraged-mt"})
_APPROVED = frozenset({"final", "signed-off"})


def find_xliff_languages(content: bytes, name: str | Path) -> Languages:
    """Return the languages of an XLIFF file, of several those of the first.

    Raises:
        DataError: The file is damaged, or no XLIFF.
    """
    tree = parse_xml(content, name)
    if find_xliff_version(tree, name) == 2:
        return tree.getroot().get("srcLang"), tree.getroot().get("trgLang")
    first = next(iter_named(tree.getroot(), "file"), None)
    return (None, None) if first is None else (first.get("source-language"), first.get("target-language"))


def iter_xliff_pairs(content: bytes, name: str | Path, languages: Languages, left_out: Counter[str]) -> Iterator[Pair]:
    """Yield the translated segments of an XLIFF file.

    Args:
        content: Of the file.
        name: Of the file, for messages.
        languages: Source and target language of the corpus; a file of the other direction is swapped.
        left_out: Is added to: segments without a translation, those marked as in need of one or of review, those that a
            machine translated, and those that are not to be translated.

    Raises:
        DataError: The file is damaged, no XLIFF, or in other languages.
    """
    tree = parse_xml(content, name)
    if find_xliff_version(tree, name) == 1:
        holders, fields = iter_named(tree.getroot(), "file"), ("source-language", "target-language")
        unit_name = "trans-unit"
    else:
        holders, fields, unit_name = iter([tree.getroot()]), ("srcLang", "trgLang"), "segment"
    for holder in holders:
        is_swapped = find_direction((holder.get(fields[0]), holder.get(fields[1])), languages, name)
        for unit in iter_named(holder, unit_name):
            problem = "not to be translated" if is_untranslatable(unit) else _find_problem(unit)
            for source, target in _iter_segment_pairs(unit):
                if not target:
                    left_out["untranslated"] += 1
                elif problem or not source:
                    left_out[problem or "without a source"] += 1
                else:
                    yield (target, source) if is_swapped else (source, target)


def _iter_segment_pairs(unit: Any) -> Iterator[Pair]:
    """Yield the texts of a unit, segment by segment where both sides are divided alike; empty for what is not there."""
    source, target, divided = (find_child(unit, name) for name in ("source", "target", "seg-source"))
    sources, targets = ({} if side is None else find_segments(side) for side in (divided, target))
    if sources and (target is None or not (is_undivided(target, divided) or has_other_segments(target, divided))):
        for mid, mark in sources.items():
            yield get_text(mark), get_text(targets[mid]) if mid in targets else ""
        return
    is_whole = target is not None and all(has_content(mark) for mark in iter_segments(target))
    yield "" if source is None else get_text(source), get_text(target) if is_whole else ""


def _find_problem(unit: Any) -> str | None:
    """Return why a unit's translation is no training text; None if it is."""
    target = find_child(unit, "target")
    if target is None:
        return None
    state = unit.get("state") or target.get("state") or ""  # XLIFF 2 has it on the segment, 1.2 on the target
    if state.startswith("needs-") or state in ("new", "initial"):
        return "in need of review"
    is_approved = state in _APPROVED or unit.get("approved") == "yes"
    if target.get("state-qualifier") in _BY_MACHINE and not is_approved:
        return "translated by a machine"
    return None
