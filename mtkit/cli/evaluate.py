"""The command `mtkit evaluate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtkit.cli.options import QuietOption, SetOption, ThreadsOption, gather, recipe_option
from mtkit.config.evaluation import EvaluationSection, TokenizerName
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

if TYPE_CHECKING:
    from mtkit.cli.systems import System
    from mtkit.evaluation.metrics import Scores

_MORE = "More options"


def evaluate(
    systems: Annotated[
        list[str],
        typer.Argument(metavar="SYSTEM", help="Translations (a text file, - for standard input), or a model or run."),
    ],
    references: Annotated[
        list[Path], typer.Option("--reference", "-r", help="Correct translations; repeat it for several references.")
    ],
    source: Annotated[
        Path | None, typer.Option("--source", "-s", help="What the models among the systems translate.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
        DeviceName, typer.Option("--device", help="Where models compute.", rich_help_panel=_MORE)
    ] = "auto",
    threads: ThreadsOption = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Take decoding and evaluation from this recipe.", rich_help_panel=_MORE),
    ] = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score one or several systems with BLEU, chrF2++ and TER, as sacreBLEU defines them.

    Each score comes with its signature and 95 % bootstrap interval. The first system is the baseline.

    Example: `mtkit evaluate run test.hyp --source test.en --reference test.de`
    """
    flags = {
        "evaluation.metrics": ("--metric", metrics or None),
        "evaluation.tokenize": ("--tokenize", tokenize),
        "evaluation.lowercase": ("--lowercase", lowercase),
        "corpus.target_language": ("--target-language", target_language),
    }
    resolved = gather(recipe, set_values, flags)
    language = resolved.corpus.target_language

    from mtkit.cli.systems import read_lines, read_system, save_hypotheses

    reference_lines = [read_lines(path) for path in references]
    source_lines = None if source is None else read_lines(source)
    found: dict[str, System] = {}
    for name in systems:
        if name not in found:
            found[name] = read_system(name, source_lines, resolved.decoding, device, threads)
            language = language or found[name].target_language
    scores = score_systems(list(found.values()), reference_lines, resolved.evaluation, language)
    if save is not None:
        save_hypotheses(list(found.values()), save)
    in_order = [(name, scores[name]) for name in systems]
    if as_json:
        print(json.dumps(build_report(in_order), ensure_ascii=False, indent=2))  # noqa: T201
    else:
        print_scores(in_order)


def score_systems(
    systems: Sequence[System], references: list[list[str]], section: EvaluationSection, target_language: str | None
) -> dict[str, Scores]:
    """Return the scores of each system by its name; what a person should know of them goes to stderr, once.

    Raises:
        DataError: A line count is not that of the references.
    """
    from mtkit.evaluation.metrics import Evaluator

    evaluator = Evaluator(references, target_language=target_language, **section.model_dump())
    for note in evaluator.notes:
        console.warn(note)
    scores = {}
    for system in systems:
        scores[system.name] = evaluator.score(system.hypotheses, system.label)
        for note in scores[system.name].notes:
            if note not in evaluator.notes:
                console.warn(f"{system.label}: {note}")
    return scores


def build_report(scores: Sequence[tuple[str, Scores]]) -> dict[str, Any]:
    """Return what `--json` prints; the first system is the baseline."""
    return {"systems": [{"name": name, **of_system.to_json()} for name, of_system in scores], "comparisons": []}


def print_scores(scores: Sequence[tuple[str, Scores]]) -> None:
    """Print the table of scores to stdout, and the signatures that they are worth nothing without."""
    _, baseline = scores[0]
    names = [score.name for score in baseline.by_metric.values()]
    rows = [
        [name, *(_show(score.score, score.interval) for score in s.by_metric.values()), f"{s.length_ratio:.3f}"]
        for name, s in scores
    ]
    console.print_table(None, ["system", *names, "length ratio"], rows)
    print()  # noqa: T201
    for score in baseline.by_metric.values():
        hint = " (lower is better)" if score.name == "TER" else ""
        print(f"{score.name}{hint}: {score.signature}")  # noqa: T201


def _show(score: float, interval: tuple[float, float] | None) -> str:
    spread = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
    return f"{score:.2f}{spread}"
