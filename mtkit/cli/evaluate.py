"""The command `mtkit evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtkit.cli.options import (
    MORE_OPTIONS,
    QuietOption,
    SetOption,
    ThreadsOption,
    gather,
    recipe_option,
    refuse_options,
)
from mtkit.cli.places import check_places
from mtkit.config.evaluation import EvaluationSection, TokenizerName
from mtkit.errors import DataError, OutputError, RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName
from mtkit.runtime.files import atomic_file

if TYPE_CHECKING:
    from mtkit.cli.systems import System
    from mtkit.evaluation.external import ExternalScores
    from mtkit.evaluation.metrics import Evaluator, Scores

_ERRORS = "Where the errors are"
_CHUNK_LINES = 10_000


def evaluate(
    systems: Annotated[
        list[str],
        typer.Argument(metavar="SYSTEM", help="Translations (a text file, - for standard input), or a model or run."),
    ],
    references: Annotated[
        list[Path], typer.Option("--reference", "-r", help="Correct translations; repeat it for several references.")
    ],
    source: Annotated[
        Path | None,
        typer.Option("--source", "-s", help="The source: models translate it, and copied text is found by it."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a page, .html, with all there is to see.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, to paste.")] = False,
    analysis: Annotated[
        bool, typer.Option("--analysis", help="Show where the errors are.", rich_help_panel=_ERRORS)
    ] = False,
    train: Annotated[
        Path | None,
        typer.Option(
            "--train",
            help="Training text, target side, or a prepared corpus: scores by rare words.",
            rich_help_panel=_ERRORS,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="A label a line, such as its corpus: scores by label.", rich_help_panel=_ERRORS),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(
            "--scores",
            metavar="[NAME=]FILE",
            help="Another metric, such as COMET: a .tsv with a column a system and a line a sentence; repeatable.",
            rich_help_panel=MORE_OPTIONS,
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Keep the translations of each system as text.")
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Only bleu, chrf or ter; repeat it for several.")
    ] = None,
    tokenize: Annotated[TokenizerName | None, recipe_option("evaluation.tokenize", "--tokenize")] = None,
    lowercase: Annotated[bool | None, recipe_option("evaluation.lowercase", "--lowercase")] = None,
    target_language: Annotated[
        str | None,
        typer.Option("--target-language", help="Decides BLEU's tokeniser. [default: the model's]", show_default=False),
    ] = None,
    device: Annotated[
        DeviceName, typer.Option("--device", help="Where models compute.", rich_help_panel=MORE_OPTIONS)
    ] = "auto",
    threads: ThreadsOption = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Take decoding and evaluation from this recipe.", rich_help_panel=MORE_OPTIONS),
    ] = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score one or several systems with BLEU, chrF2++ and TER, as sacreBLEU defines them.

    Each score comes with its signature and 95 % bootstrap interval. The first system is the baseline, with which the
    others are compared by paired tests.

    Example: `mtkit evaluate run test.hyp --source test.en --reference test.de`
    """
    flags = {
        "evaluation.metrics": ("--metric", metrics or None),
        "evaluation.tokenize": ("--tokenize", tokenize),
        "evaluation.lowercase": ("--lowercase", lowercase),
        "corpus.target_language": ("--target-language", target_language),
    }
    resolved = gather(recipe, set_values, flags)
    if as_json and as_markdown:
        raise RecipeError("--json and --markdown exclude each other", fix="give one of them")
    language = resolved.corpus.target_language
    if not (analysis or as_json or page is not None):
        shown_there = {"--train": train is not None, "--labels": labels is not None}
        refuse_options(shown_there, "is for the analysis of errors", "add --analysis, --report or --json")
    _check_page(page, [*references, *(path for path in (source, labels, train) if path is not None)], systems)

    from mtkit.cli.evaluate_tables import print_blocks, show_analysis, show_scores
    from mtkit.cli.systems import read_system, save_hypotheses
    from mtkit.corpus.text_files import read_lines
    from mtkit.evaluation.checks import check_texts
    from mtkit.evaluation.metrics import Evaluator
    from mtkit.evaluation.report import Texts, build_evaluation_report, score_system

    named_references = [(str(path), read_lines(path)) for path in references]
    reference_lines = [lines for _, lines in named_references]
    source_lines = None if source is None else read_lines(source)
    check_texts([], named_references, source_lines)  # before a model translates
    external_scores = _read_external(external or [], systems, len(reference_lines[0]))
    sentence_labels = None if labels is None else _read_labels(labels, len(reference_lines[0]))
    if train is not None and (train.is_dir() or not train.exists()):
        next(_iter_target_chunks(train), None)  # raises what is wrong with it
    found: dict[str, System] = {}
    for name in systems:
        if name not in found:
            found[name] = read_system(name, source_lines, resolved.decoding, device, threads)
            language = language or found[name].target_language
    if save is not None:
        save_hypotheses(list(found.values()), save)

    evaluator = Evaluator(reference_lines, resolved.evaluation, target_language=language, counted=["chrf"])
    scored = {name: score_system(evaluator, name, system.hypotheses, system.label) for name, system in found.items()}
    _warn(evaluator, {found[name].label: system.scores for name, system in scored.items()})
    labelled = [(found[name].label, found[name].hypotheses) for name in systems]
    for note in check_texts(labelled, named_references, source_lines):
        console.warn(note)
    word_counts = None if train is None else _count_words(train, evaluator)
    texts = Texts(reference_lines, source_lines, sentence_labels, word_counts, external_scores)
    trials = resolved.evaluation.randomization_trials
    report = build_evaluation_report(evaluator, [scored[name] for name in systems], texts, randomization_trials=trials)
    try:
        if page is not None:
            _write_page(report, page)
    finally:  # the scores show even if the page cannot be written, and the page is there even if nobody reads them
        if as_json:
            shown = {key: value for key, value in report.items() if key != "sentences"}
            print(json.dumps(shown, ensure_ascii=False, indent=2))  # noqa: T201
        else:
            print_blocks([*show_scores(report), *(show_analysis(report) if analysis else [])], as_markdown=as_markdown)


def _check_page(page: Path | None, read: Sequence[Path], systems: Sequence[str]) -> None:
    """Refuse a place for the page that is none, or that is read."""
    if page is None:
        return
    if page.is_dir():
        raise OutputError("a folder, not a file", at=page, fix="name the page: --report out.html")
    if page.suffix.lower() not in (".html", ".htm"):
        raise RecipeError("the report is a page", at=f"--report {page}", fix="name it .html")
    check_places({str(path): path for path in (*read, *map(Path, systems))}, {"--report": page})


def score_systems(
    systems: Sequence[System], references: list[list[str]], section: EvaluationSection, target_language: str | None
) -> dict[str, Scores]:
    """Return the scores of each system by its name; what a person should know of them goes to stderr, once.

    Raises:
        DataError: A line count is not that of the references.
    """
    from mtkit.evaluation.metrics import Evaluator

    evaluator = Evaluator(references, section, target_language=target_language)
    scores = {system.name: evaluator.score(system.hypotheses, system.label) for system in systems}
    _warn(evaluator, {system.label: scores[system.name] for system in systems})
    return scores


def build_report(scores: Sequence[tuple[str, Scores]]) -> dict[str, Any]:
    """Return what is kept of scores alone; `mtkit evaluate --json` prints more."""
    return {"systems": [{"name": name, **of_system.to_json()} for name, of_system in scores], "comparisons": []}


def print_scores(scores: Sequence[tuple[str, Scores]]) -> None:
    """Print the table of scores to stdout, and the signatures that they are worth nothing without."""
    from mtkit.cli.evaluate_tables import print_blocks, show_scores

    print_blocks(show_scores(build_report(scores)))


def _warn(evaluator: Evaluator, scores: Mapping[str, Scores]) -> None:
    """Print what a person should know of the scores of systems, given by what to call them."""
    for note in evaluator.notes:
        console.warn(note)
    for label, of_system in scores.items():
        for note in of_system.notes:
            if note not in evaluator.notes:
                console.warn(f"{label}: {note}")


def _read_external(options: Sequence[str], systems: Sequence[str], size: int) -> list[ExternalScores]:
    from mtkit.evaluation.external import parse_scores_option, read_external_scores

    named = [parse_scores_option(option) for option in options]
    names = [name for name, _ in named]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeError(f"two metrics are called {twice[0]}", fix="name them apart: --scores NAME=FILE.tsv")
    return [read_external_scores(name, path, systems, size) for name, path in named]


def _read_labels(path: Path, size: int) -> list[str]:
    from mtkit.corpus.text_files import read_lines

    labels = [line.strip() for line in read_lines(path)]
    if len(labels) != size:
        raise DataError(
            f"{len(labels):,} labels, the reference has {size:,} lines", at=path, fix="give a label for each sentence"
        )
    for number, label in enumerate(labels, start=1):
        if "\t" in label:
            raise DataError("several columns", at=f"{path}:{number}", fix="give one label a line: cut -f1 FILE")
    return labels


def _count_words(train: Path, evaluator: Evaluator) -> Mapping[str, int]:
    """Return how often each word stands in a training text: a file, or the target side of a prepared corpus."""
    from mtkit.evaluation.breakdowns import count_words

    with console.progress(f"counting the words of {train}", unit="lines") as advance:

        def iter_lines() -> Iterator[str]:
            for chunk in _iter_target_chunks(train):
                yield from chunk
                advance(len(chunk))

        return count_words(iter_lines(), evaluator.split_words)


def _iter_target_chunks(train: Path) -> Iterator[list[str]]:
    if not train.is_dir():
        from mtkit.corpus.text_files import iter_line_chunks

        yield from iter_line_chunks(train, _CHUNK_LINES)
        return
    import numpy as np

    from mtkit.corpus.store import PreparedCorpus

    split = PreparedCorpus.load(train).train
    for start in range(0, len(split), _CHUNK_LINES):
        yield split.texts(np.arange(start, min(start + _CHUNK_LINES, len(split))))[1]


def _write_page(report: Mapping[str, Any], path: Path) -> None:
    from mtkit.pages.evaluation_page import build_evaluation_page

    with atomic_file(path) as temporary:
        temporary.write_text(build_evaluation_page(report), encoding="utf-8")
    console.say(f"the report is {path}")
