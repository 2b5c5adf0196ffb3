"""Preparing a corpus as the commands do it: not again what is there, and what was done is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.config.recipe import Recipe
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

if TYPE_CHECKING:
    from mtkit.corpus.store import PreparedCorpus


def run_preparation(
    recipe: Recipe, output: Path, *, overwrite: bool, device: DeviceName, threads: int | None
) -> PreparedCorpus:
    """Prepare a corpus, or open the one that is there; see `mtkit.corpus.prepare.prepare_corpus`."""
    from mtkit.cli.model_filter import find_pair_models
    from mtkit.corpus.prepare import is_up_to_date, prepare_corpus
    from mtkit.corpus.report import show_corpus
    from mtkit.corpus.store import PreparedCorpus

    models = find_pair_models(recipe.corpus.filters.model_score, device, threads)
    if not overwrite and is_up_to_date(recipe.corpus, recipe.vocabulary, output, models):
        console.say(f"{output} is up to date (same text, same settings): not prepared again")
        return PreparedCorpus.load(output)
    corpus = prepare_corpus(
        recipe.corpus, recipe.vocabulary, output, overwrite=overwrite, threads=threads, models=models
    )
    show_corpus(corpus.manifest)
    for warning in corpus.manifest.warnings:
        console.warn(warning)
    return corpus
