"""Texts that were mixed up: what makes scores meaningless, and what a person should know."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from mtkit.errors import DataError

NamedLines: TypeAlias = tuple[str, Sequence[str]]


def check_texts(
    systems: Sequence[NamedLines], references: Sequence[NamedLines], source: Sequence[str] | None = None
) -> list[str]:
    """Return what looks wrong with the texts, one sentence each.

    Args:
        systems: What to call each system, and its translations.
        references: What to call each reference, and its lines.
        source: The lines of the source, if known.

    Raises:
        DataError: The source has another number of lines than the references, or a reference is the source.
    """
    if source is not None:
        _check_source(references, source)
    return [*_compare_references(references, source), *_compare_systems(systems, references, source)]


def _check_source(references: Sequence[NamedLines], source: Sequence[str]) -> None:
    for name, lines in references:
        if len(lines) != len(source):
            raise DataError(
                f"the source has {len(source):,} lines, the reference {len(lines):,}",
                at=name,
                fix="give source and reference of the same sentences, one a line",
            )
        if any(lines) and _normalize(lines) == _normalize(source):
            raise DataError("the reference is the source", at=name, fix="give the correct translations")


def _compare_references(references: Sequence[NamedLines], source: Sequence[str] | None) -> Iterator[str]:
    names = [name for name, _ in references]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    yield from (f"the reference {name} is given more than once" for name in twice)
    seen: dict[tuple[str, ...], str] = {}
    for name, lines in dict(references).items():
        if (first := seen.setdefault(_normalize(lines), name)) != name:
            yield f"the references {first} and {name} are the same"
        if source is not None and (same := _count_same(lines, source)) * 2 > len(lines):
            yield f"{same:,} of {len(lines):,} lines of {name} are those of the source"


def _compare_systems(
    systems: Sequence[NamedLines], references: Sequence[NamedLines], source: Sequence[str] | None
) -> Iterator[str]:
    names = [name for name, _ in systems]
    yield from (f"{name} is given more than once" for name in dict.fromkeys(names) if names.count(name) > 1)
    known = {_normalize(lines): name for name, lines in references}
    seen: dict[tuple[str, ...], str] = {}
    for name, hypotheses in dict(systems).items():
        key = _normalize(hypotheses)
        if key in known:
            yield f"{name} holds the lines of the reference {known[key]}: its scores say nothing"
        if source is not None and (same := _count_same(hypotheses, source)) * 2 > len(hypotheses):
            yield f"{same:,} of {len(hypotheses):,} lines of {name} are those of the source"
        if any(key) and (empty := _count_empty(key, [lines for _, lines in references])):
            yield f"{empty:,} of {len(hypotheses):,} lines of {name} are empty, where the reference is not"
        if (first := seen.setdefault(key, name)) != name and any(key):
            yield f"{first} and {name} hold the same translations"
        composed = [all(map(_is_composed, lines)) for _, lines in references]
        if all(composed) and (apart := sum(not _is_composed(line) for line in hypotheses)):
            yield (
                f"{apart:,} of {len(hypotheses):,} lines of {name} are not in Unicode's composed form (NFC), as the "
                "reference is: what looks the same counts as wrong there"
            )


def _is_composed(line: str) -> bool:
    return unicodedata.is_normalized("NFC", line)


def _normalize(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.strip() for line in lines)


def _count_same(lines: Sequence[str], others: Sequence[str]) -> int:
    """Return how many lines, with text, are the same in both."""
    return sum(a.strip() == b.strip() != "" for a, b in zip(lines, others, strict=False))


def _count_empty(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> int:
    """Return how many hypotheses are empty where each reference has text."""
    rows = zip(hypotheses, *references, strict=False)
    return sum(not hypothesis and all(map(str.strip, lines)) for hypothesis, *lines in rows)
