"""Word links as text, and how well they agree with others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtkit.corpus.text_files import read_lines
from mtkit.decoding.alignment import Links
from mtkit.errors import DataError

_LINK = re.compile(r"(\d+)([-p?])(\d+)")


@dataclass(frozen=True)
class GoldLinks:
    """The links of a sentence pair that people, or a grammar, made.

    Attributes:
        sure: Links (source, target), from 0, that must be there.
        possible: Links that may be there; the sure ones among them.
    """

    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class LinkScore:
    """Precision, recall, F1 and alignment error rate, from 0 to 1.

    Och and Ney 2003 (https://aclanthology.org/J03-1002): with links A, sure ones S and possible ones P, precision is
    |A & P| / |A|, recall |A & S| / |S|, and AER = 1 - (|A & S| + |A & P|) / (|A| + |S|). F1 is the harmonic mean of
    precision and recall; where all links are sure, AER = 1 - F1.
    """

    precision: float
    recall: float
    f1: float
    aer: float


def score_links(links: Sequence[Links], gold: Sequence[GoldLinks]) -> LinkScore:
    """Compare the links of each sentence pair with gold ones, summed over all pairs.

    Args:
        links: Found, of each pair.
        gold: Right, of each pair.
    """
    num_found = num_sure = in_possible = in_sure = 0
    for found, right in zip(links, gold, strict=True):
        own = set(found)
        num_found += len(own)
        num_sure += len(right.sure)
        in_possible += len(own & right.possible)
        in_sure += len(own & right.sure)
    precision = in_possible / num_found if num_found else 0.0
    recall = in_sure / num_sure if num_sure else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    total = num_found + num_sure
    return LinkScore(precision, recall, f1, 1 - (in_sure + in_possible) / total if total else 0.0)


def score_agreement(links: Sequence[Links], reverse: Sequence[Links]) -> float:
    """Return the F1 between links of source to target and those of another model from target to source.

    Args:
        links: Of each pair, (source, target).
        reverse: Of each pair with its sides exchanged, (target, source).
    """
    turned = [frozenset((source, target) for target, source in found) for found in reverse]
    return score_links(links, [GoldLinks(found, found) for found in turned]).f1


def read_gold_links(path: Path) -> list[GoldLinks]:
    """Read links in Pharaoh format, a line for each pair, from 0: `i-j` for a sure one, `ipj` or `i?j` for a possible.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    return [_parse(line, f"{path}:{number}") for number, line in enumerate(read_lines(path), 1)]


def _parse(line: str, place: str) -> GoldLinks:
    sure, possible = set(), set()
    for text in line.split():
        found = _LINK.fullmatch(text)
        if found is None:
            raise DataError(
                f"'{text}' is no word link",
                at=place,
                fix="write 0-0 1-2 (source-target, from 0); 1p2 for a possible link",
            )
        pair = (int(found[1]), int(found[3]))
        possible.add(pair)
        if found[2] == "-":
            sure.add(pair)
    return GoldLinks(frozenset(sure), frozenset(possible))
