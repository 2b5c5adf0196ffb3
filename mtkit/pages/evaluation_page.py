"""The report of an evaluation: scores, significance, where the errors are, and all sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtkit.pages.page import build_page


def build_evaluation_page(report: Mapping[str, Any]) -> str:
    """Return the page of an evaluation.

    Args:
        report: `systems`, the first being the baseline, with their scores, length ratio and oddities; `comparisons`
            with the baseline; `breakdowns` of the scores; `changes`, the line numbers of the sentences that changed
            most; `reference_count`, `sentence_count`; and `sentences`: source, references, corpus, and of each system
            the hypothesis, its sentence chrF and its flags.

    Raises:
        ValueError: A number is not finite.
    """
    return build_page("evaluation", _build_title([system["name"] for system in report["systems"]]), _slim(report))


def _build_title(names: Sequence[str]) -> str:
    if len(names) > 2:
        return f"Evaluation of {len(names)} systems"
    return f"Evaluation of {' and '.join(names)}"


def _slim(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report with the digits of sentence scores that a page shows: thousands of them are carried."""
    sentences = [{**s, "chrf": [round(score, 2) for score in s["chrf"]]} for s in report["sentences"]]
    return {**report, "sentences": sentences}
