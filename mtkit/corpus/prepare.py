"""Raw parallel text to a prepared corpus, unless it is there already."""

from __future__ import annotations

from pathlib import Path

from mtkit.config.corpus import CorpusSection
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.language_tags import is_same_language, show_direction
from mtkit.corpus.manifest import CORPUS_FILES, is_prepared_corpus
from mtkit.corpus.model_filter import PairModels, find_model_files
from mtkit.corpus.pipeline import fill_folder
from mtkit.corpus.request import Request, build_request, find_differences
from mtkit.corpus.store import PreparedCorpus
from mtkit.corpus.tags import collect_tags
from mtkit.corpus.text_files import strip_compression
from mtkit.errors import MtkitError, RecipeError
from mtkit.runtime import console
from mtkit.runtime.files import atomic_folder
from mtkit.runtime.replacing import refuse_foreign, refuse_guests

_SHOWN_DIFFERENCES = 3


def prepare_corpus(
    corpus: CorpusSection,
    vocabulary: VocabularySection,
    output: Path,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    models: PairModels | None = None,
) -> PreparedCorpus:
    """Turn parallel text into a prepared corpus, or open the one that is there if it is the same.

    Memory stays the same however much training text there is, save for some 80 bytes a pair, and for the sentences that
    a vocabulary is learned from (two million long ones: some 3 GB); of catalogs and XLIFF, one file at a time is held
    whole. The folder appears whole or not at all.

    Args:
        corpus: Where the text comes from and what is kept.
        vocabulary: The vocabulary to learn or take.
        output: The folder to write.
        overwrite: Make it anew, and replace a prepared corpus that is there. Anything else is never replaced,
            nor is one with other things in it.
        threads: CPU threads of encoding; None for all cores.
        models: Those of `corpus.filters.model_score`; needed if it is set.

    Raises:
        DataError: The text cannot be used.
        RecipeError: The settings cannot be met, or `output` holds another prepared corpus.
        ModelError: A SentencePiece model that was given cannot be used.
        OutputError: `output` cannot be written, or holds something else.
    """
    if not corpus.train:
        raise RecipeError(
            "no training text", at="corpus.train", fix="give --source and --target, or a recipe with corpus.train"
        )
    collect_tags(corpus)  # what contradicts itself there shows before anything is read
    is_corpus = is_prepared_corpus(output)
    refuse_foreign(output, "a prepared corpus", is_corpus)
    request = build_request(corpus, vocabulary, find_model_files(corpus.filters.model_score, models))
    if not overwrite and _holds(output, request):
        return PreparedCorpus.load(output)
    _check_place(output, is_corpus)
    _warn_of_swapped_sides(corpus)
    with atomic_folder(output) as folder:
        fill_folder(folder, corpus, vocabulary, request, threads, models)
        _check_place(output, is_corpus)  # once more: it may have taken hours
    return PreparedCorpus.load(output)


def _check_place(output: Path, is_corpus: bool) -> None:
    """Refuse to replace what is no prepared corpus, or one with other things in it."""
    refuse_foreign(output, "a prepared corpus", is_corpus)
    if is_corpus and output.exists():
        refuse_guests(output, "a prepared corpus", CORPUS_FILES)


def _warn_of_swapped_sides(corpus: CorpusSection) -> None:
    """Warn of pairs of files whose suffixes name the languages the other way round."""
    languages = corpus.source_language, corpus.target_language
    if None in languages or is_same_language(*languages):
        return
    for text in (*corpus.train, corpus.valid, corpus.test):
        if text is None or text.source is None or text.target is None:
            continue
        suffixes = [strip_compression(path).suffix.removeprefix(".") for path in (text.source, text.target)]
        if all(suffixes) and all(map(is_same_language, suffixes, languages[::-1])):
            direction = show_direction(languages)
            console.warn(f"{text.source.name} and {text.target.name} seem to be swapped: the corpus is {direction}")


def is_up_to_date(
    corpus: CorpusSection, vocabulary: VocabularySection, output: Path, models: PairModels | None = None
) -> bool:
    """Return whether `output` holds the corpus that `prepare_corpus` would make of the same arguments.

    Raises:
        DataError: An input cannot be read.
        RecipeError: `output` holds a prepared corpus of other settings or inputs, or a damaged one.
    """
    if not is_prepared_corpus(output):
        return False
    return _holds(output, build_request(corpus, vocabulary, find_model_files(corpus.filters.model_score, models)))


def _holds(output: Path, request: Request) -> bool:
    """Return whether `output` holds the corpus that is asked for; refuse another one."""
    if not is_prepared_corpus(output):
        return False
    try:
        there = PreparedCorpus.load(output).manifest.request
    except MtkitError as exc:
        raise RecipeError(
            f"the prepared corpus that is there cannot be used: {exc.message}",
            at=exc.at,
            fix="add --overwrite to make it anew, or choose another folder with -o",
        ) from exc
    differences = find_differences(there, request.settings)
    if differences:
        shown = ", ".join(differences[:_SHOWN_DIFFERENCES])
        more = len(differences) - _SHOWN_DIFFERENCES
        raise RecipeError(
            f"the prepared corpus that is there differs in {shown}" + (f" and {more} more" if more > 0 else ""),
            at=output,
            fix="add --overwrite to replace it, or choose another folder with -o",
        )
    return True
