"""Preparing a corpus as the commands do it: not again what is there, and what was done is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.cli.options import refuse_options
from mtkit.config.recipe import Recipe
from mtkit.config.vocabulary import VocabularySection
from mtkit.errors import RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName
from mtkit.runtime.distributed import read_processes

if TYPE_CHECKING:
    from mtkit.corpus.store import PreparedCorpus


def run_preparation(
    recipe: Recipe, output: Path, *, overwrite: bool, device: DeviceName, threads: int | None
) -> PreparedCorpus:
    """Prepare a corpus, or open the one that is there; see `mtkit.corpus.prepare.prepare_corpus`.

    Raises:
        RecipeError: torchrun started several processes, which would all write the same.
    """
    from mtkit.cli.model_filter import find_pair_models
    from mtkit.corpus.prepare import is_up_to_date, prepare_corpus
    from mtkit.corpus.report import show_corpus
    from mtkit.corpus.store import PreparedCorpus

    if (count := read_processes().count) > 1:
        raise RecipeError(
            f"text is prepared in one process, and {count} were started",
            fix="mtkit prepare without torchrun, then torchrun … -m mtkit train, then mtkit run without it, which "
            "translates and scores",
        )
    models = find_pair_models(recipe.corpus.filters.model_score, device, threads)
    if not overwrite and is_up_to_date(recipe.corpus, recipe.vocabulary, output, models):
        say_up_to_date(output, "same text, same settings", "prepared")
        return PreparedCorpus.load(output)
    corpus = prepare_corpus(
        recipe.corpus, recipe.vocabulary, output, overwrite=overwrite, threads=threads, models=models
    )
    show_corpus(corpus.manifest)
    for warning in corpus.manifest.warnings:
        console.warn(warning)
    return corpus


def refuse_size(vocab_size: int | None, vocabulary: VocabularySection) -> None:
    """Refuse `--vocab-size` where the vocabulary is not learned.

    Raises:
        RecipeError: It was given, and so was a vocabulary.
    """
    if vocabulary.source_model is not None:
        refuse_options(
            {"--vocab-size": vocab_size is not None},
            "is for a vocabulary that is learned, and vocabulary.source_model gives one",
            "leave out vocabulary.source_model",
        )


def say_up_to_date(path: Path, reason: str, done: str) -> None:
    """Say that a step is not done again, and why."""
    console.say(f"{path} is up to date ({reason}): not {done} again")
