"""Validation and test sets: given ones are kept as they are, and what is odd in them is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtkit.config.corpus import CorpusSection
from mtkit.corpus.hashing import is_among
from mtkit.corpus.invisible import is_blank
from mtkit.corpus.language_tags import Languages
from mtkit.corpus.readers import iter_pairs
from mtkit.corpus.reading import Reading
from mtkit.corpus.repair import CRLF
from mtkit.corpus.splitting import PairHashes
from mtkit.corpus.store import HELD_OUT, HeldOutName


@dataclass(frozen=True)
class HeldOut:
    """A validation or test set: its lines, and the name of the corpus that each pair comes from."""

    sources: list[str]
    targets: list[str]
    labels: list[str]

    def write_text(self, folder: Path, name: HeldOutName) -> None:
        """Write both sides as plain text, UTF-8, one line each, ended by a line feed on every system."""
        for side, lines in (("source", self.sources), ("target", self.targets)):
            with (folder / f"{name}.{side}.txt").open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(f"{line}\n" for line in lines)


def read_held_out(
    corpus: CorpusSection, languages: Languages, repaired: Counter[str], warnings: list[str]
) -> dict[HeldOutName, HeldOut]:
    """Read the validation and test sets that are given, whole and unfiltered.

    Args:
        corpus: Where they lie.
        languages: Source and target language.
        repaired: Is added to: what was replaced in lines.
        warnings: Is added to: what is odd in the sets.

    Raises:
        DataError: A set is missing, damaged, empty, misaligned or no UTF-8.
    """
    given: dict[HeldOutName, HeldOut] = {}
    for name in HELD_OUT:
        section = corpus.valid if name == "valid" else corpus.test
        if section is None:
            continue
        reading = Reading()
        sources: list[str] = []
        targets: list[str] = []
        for source_lines, target_lines in iter_pairs(section, name, languages, reading):
            sources += source_lines
            targets += target_lines
        given[name] = HeldOut(sources, targets, [section.label] * len(sources))
        repaired.update(reading.repaired)
        warnings += _find_oddities(name, given[name], reading)
    return given


def _find_oddities(name: HeldOutName, held_out: HeldOut, reading: Reading) -> list[str]:
    warnings = [
        f"{name} set: {count:,} x {what}, replaced by a space"
        for what, count in reading.repaired.items()
        if what != CRLF
    ]
    warnings += [f"{name} set: {count:,} pairs left out: {reason}" for reason, count in reading.left_out.items()]
    for side, lines in (("source", held_out.sources), ("target", held_out.targets)):
        empty = [number for number, line in enumerate(lines, start=1) if is_blank(line)]
        if empty:
            warnings.append(f"{name} set: {len(empty):,} empty {side} lines, the first is line {empty[0]}")
    return warnings


def find_overlap(given: dict[HeldOutName, PairHashes]) -> list[str]:
    """Return a warning where the given validation and test sets share sources."""
    if len(given) < len(HELD_OUT):
        return []
    shared = int(np.count_nonzero(is_among(given["test"].source, given["valid"].source)))
    return [f"{shared:,} sources of the test set also stand in the validation set"] if shared else []
