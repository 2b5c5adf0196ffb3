"""Score the pronouns of a translation of the pronoun test: `python data/score_pronouns.py HYPOTHESES [--set test]`.

A hypothesis is judged by one word only: the pronoun of its deciding clause. That clause starts at the last connective
(weil, da, denn, und, aber, doch, obwohl, sondern) that has a word behind it, and ends at the next sign; its first
personal pronoun is compared with the right one. No such clause or no pronoun in it: wrong. A pair counts if both of
its sentences are right.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
CONNECTIVES = {"weil", "da", "denn", "und", "aber", "doch", "obwohl", "sondern"}
PRONOUNS = {"er", "sie", "es", "ihn", "ihm", "ihr", "ihnen"}
PRONOUN_OF = {"m": "er", "f": "sie", "n": "es"}
DATA_ERROR = 3


@dataclass(frozen=True)
class Item:
    """One sentence of the pronoun test."""

    pair: str
    pronoun: str
    subject_gender: str
    object_gender: str


@dataclass(frozen=True)
class Score:
    """Pairs and sentences right, in percent."""

    pairs: float
    sentences: float


def read_items(name: str) -> list[Item]:
    """Read the table of a pronoun set."""
    with gzip.open(FOLDER / f"pronouns.{name}.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [Item(row["pair"], row["pronoun"], row["subject_gender"], row["object_gender"]) for row in rows]


def find_pronoun(hypothesis: str) -> str | None:
    """Return the pronoun of the deciding clause in lower case, or None."""
    parts: list[str] = re.findall(r"\w+|[^\w\s]", hypothesis.lower())
    starts = [i for i, part in enumerate(parts[:-1]) if part in CONNECTIVES and parts[i + 1][0].isalpha()]
    for part in parts[starts[-1] + 1 :] if starts else []:
        if not part[0].isalpha():
            return None
        if part in PRONOUNS:
            return part
    return None


def score_pronouns(items: Sequence[Item], found: Sequence[str | None]) -> Score:
    """Compare pronouns with the right ones, sentence by sentence and pair by pair."""
    right = [item.pronoun == pronoun for item, pronoun in zip(items, found, strict=True)]
    pairs: dict[str, bool] = {}
    for item, correct in zip(items, right, strict=True):
        pairs[item.pair] = pairs.get(item.pair, True) and correct
    return Score(100 * sum(pairs.values()) / len(pairs), 100 * sum(right) / len(right))


def score_baselines(items: Sequence[Item]) -> dict[str, Score]:
    """Score what needs no understanding: the nearest noun, the subject, and the most frequent pronoun."""
    majority = Counter(item.pronoun for item in items).most_common(1)[0][0]
    guesses = {
        "nearest noun": [PRONOUN_OF[item.object_gender] for item in items],
        "subject": [PRONOUN_OF[item.subject_gender] for item in items],
        "majority": [majority for _ in items],
    }
    return {name: score_pronouns(items, found) for name, found in guesses.items()}


def read_hypotheses(path: Path, expected: int) -> list[str]:
    """Read a translation, one line a sentence.

    Raises:
        ValueError: The file cannot be read, or has another number of lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    lines = lines[:-1] if lines[-1] == "" else lines
    if len(lines) != expected:
        raise ValueError(f"{path} has {len(lines)} lines, but the pronoun set has {expected} sentences")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Score the pronouns of a translation of the pronoun test.")
    parser.add_argument("hypotheses", type=Path, help="the translation of pronouns.<set>.en, one line a sentence")
    parser.add_argument("--set", choices=("test", "valid"), default="test", help="which pronoun set (default: test)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    items = read_items(options.set)
    try:
        hypotheses = read_hypotheses(options.hypotheses, len(items))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return DATA_ERROR
    scores = {"translation": score_pronouns(items, [find_pronoun(line) for line in hypotheses])}
    scores |= score_baselines(items)
    if options.json:
        print(
            json.dumps({name: {"pairs": score.pairs, "sentences": score.sentences} for name, score in scores.items()})
        )
        return 0
    print(f"{len(items) // 2} pairs, {len(items)} sentences ({options.set})")
    for name, score in scores.items():
        print(f"{name:<14}{score.pairs:6.1f} % of pairs{score.sentences:7.1f} % of sentences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
