"""Scores of other metrics, computed elsewhere: one value a sentence and system."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from mtkit.config.evaluation import MetricName
from mtkit.corpus.text_files import read_lines, strip_compression
from mtkit.errors import DataError, RecipeError
from mtkit.evaluation.intervals import Table, bootstrap_interval
from mtkit.evaluation.metrics import METRICS
from mtkit.evaluation.significance import Measure


@dataclass(frozen=True)
class ExternalScores:
    """A metric that was computed elsewhere. Higher is better; the score of a system is the mean of its sentences.

    Attributes:
        name: The metric.
        tables: For each system by its name, `(sentences, 1)`.
    """

    name: str
    tables: Mapping[str, Table]

    def score(self, system: str) -> float:
        """Return the mean of a system's values."""
        return float(self.tables[system].mean())

    def interval(self, system: str, samples: int, seed: int) -> tuple[float, float] | None:
        """Return the 95 % bootstrap interval of a system's score."""
        table = self.tables[system]
        return bootstrap_interval(table, lambda sums: float(sums[0]) / len(table), samples, seed)

    def measure(self, systems: Sequence[str]) -> Measure:
        """Return what the paired tests need to compare systems, given by their names."""
        tables = [self.tables[system] for system in systems]
        size = len(tables[0])
        return Measure(self.name, lambda sums: float(sums[0]) / size, tables)


def parse_scores_option(text: str) -> tuple[str, Path]:
    """Return the name of a metric and its file, as `--scores` was typed: `FILE`, named after it, or `NAME=FILE`.

    Raises:
        RecipeError: There is no name, or it is that of one of our own metrics.
    """
    name, sign, path = text.partition("=")
    if not sign or Path(text).exists():
        name, path = strip_compression(Path(text)).stem, text
    taken: tuple[MetricName | str, ...] = (*METRICS, "chrf2++")
    if not name or not path or name.casefold() in taken:
        raise RecipeError(
            f"'{name}' is no name for another metric" if name else "the metric has no name",
            at=f"--scores {text}",
            fix="write --scores NAME=FILE.tsv",
        )
    return name, Path(path)


def read_external_scores(name: str, path: Path, systems: Sequence[str], size: int) -> ExternalScores:
    """Read the scores of a metric from a TSV file.

    The first line names the systems: as they are given to mtkit, or by their file names, with or without suffix. Each
    other line holds a value of each system.

    Args:
        name: The metric.
        path: The file, plain or compressed.
        systems: The names of the systems, all of which must be there, and no other.
        size: The number of sentences.

    Raises:
        DataError: The file cannot be read, a system is unknown or missing, a value is no finite number, or there are
            not as many lines as sentences.
    """
    rows = [line.split("\t") for line in read_lines(path)]
    header = _find_systems([cell.strip() for cell in rows[0]], systems, path)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            counts = f"{len(row)} columns, the first line {len(header)}"
            raise DataError(counts, at=f"{path}:{number}", fix="give a value of each system, with tabs between them")
    if len(rows) - 1 != size:
        raise DataError(
            f"{len(rows) - 1:,} lines of scores, the reference has {size:,} lines",
            at=path,
            fix="give a line with the names of the systems, then one line for each sentence",
        )
    values = [[_parse(cell, f"{path}:{number}") for cell in row] for number, row in enumerate(rows[1:], start=2)]
    table = np.array(values, dtype=np.float64)
    return ExternalScores(name, {system: table[:, [place]] for place, system in enumerate(header)})


def _find_systems(header: Sequence[str], systems: Sequence[str], path: Path) -> list[str]:
    """Return the system that each column belongs to."""
    known = list(dict.fromkeys(systems))
    found = []
    for cell in header:
        matches = [system for system in known if cell == system] or [
            system for system in known if cell in _short_names(system)
        ]
        if len(matches) != 1:
            problem = "could be several systems" if matches else "is none of the systems"
            names = ", ".join(matches or known)
            raise DataError(f"'{cell}' {problem}", at=f"{path}:1", fix=f"name the columns as the systems: {names}")
        found += matches
    if missing := [system for system in known if system not in found]:
        raise DataError(f"no column of scores for {missing[0]}", at=f"{path}:1", fix="add the column, or drop --scores")
    if len(set(found)) < len(found):
        twice = next(system for system in found if found.count(system) > 1)
        raise DataError(f"two columns of scores for {twice}", at=f"{path}:1", fix="leave one of them out")
    return found


def _short_names(system: str) -> set[str]:
    path = PurePath(strip_compression(Path(system)))
    return {PurePath(system).name, path.name, path.stem} - {""}


def _parse(cell: str, at: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"'{cell}' is no finite number", at=at, fix="correct the value; the decimal mark is a point")
    return value
