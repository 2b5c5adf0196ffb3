"""The command `mtkit run`: from a recipe to a score, by the same functions as the four commands that it stands for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtkit.cli.options import (
    OverwriteOption,
    QuietOption,
    SetOption,
    ThreadsOption,
    gather,
    recipe_option,
    replace_texts,
)
from mtkit.cli.preparing import refuse_size, run_preparation, say_up_to_date
from mtkit.cli.training import run_training
from mtkit.config.model import Preset
from mtkit.config.recipe import Recipe
from mtkit.errors import OutputError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName
from mtkit.runtime.files import hash_file, read_json, write_json

if TYPE_CHECKING:
    from mtkit.corpus.store import PreparedCorpus
    from mtkit.evaluation.metrics import Scores

_INSTEAD = "In place of what the recipe says"
HYPOTHESES_NAME = "test.hyp"
SCORES_NAME = "scores.json"


def run(
    recipe: Annotated[str, typer.Argument(help="Recipe: a .yaml file, or the name of a bundled one.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; the same command again goes on from there.")],
    vocab_size: Annotated[
        int | None, recipe_option("vocabulary.size", "--vocab-size", panel=_INSTEAD, show_default=False)
    ] = None,
    preset: Annotated[
        Preset | None, recipe_option("model.preset", "--preset", panel=_INSTEAD, show_default=False)
    ] = None,
    max_steps: Annotated[
        int | None, recipe_option("training.max_steps", "--max-steps", panel=_INSTEAD, show_default=False)
    ] = None,
    max_minutes: Annotated[
        float | None, recipe_option("training.max_minutes", "--max-minutes", panel=_INSTEAD, show_default=False)
    ] = None,
    device: Annotated[DeviceName, typer.Option("--device", help="Where to compute.")] = "auto",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    set_values: SetOption = None,
    quiet: QuietOption = False,
    source: Annotated[
        list[Path] | None,
        typer.Option("--source", help="Training text, source side; repeatable.", rich_help_panel=_INSTEAD),
    ] = None,
    target: Annotated[
        list[Path] | None,
        typer.Option("--target", help="Training text, target side; repeatable.", rich_help_panel=_INSTEAD),
    ] = None,
    valid_source: Annotated[
        Path | None, typer.Option("--valid-source", help="Validation text, source side.", rich_help_panel=_INSTEAD)
    ] = None,
    valid_target: Annotated[
        Path | None, typer.Option("--valid-target", help="Validation text, target side.", rich_help_panel=_INSTEAD)
    ] = None,
    test_source: Annotated[
        Path | None, typer.Option("--test-source", help="Test text, source side.", rich_help_panel=_INSTEAD)
    ] = None,
    test_target: Annotated[
        Path | None, typer.Option("--test-target", help="Test text, target side.", rich_help_panel=_INSTEAD)
    ] = None,
    source_language: Annotated[
        str | None, recipe_option("corpus.source_language", "--source-language", panel=_INSTEAD)
    ] = None,
    target_language: Annotated[
        str | None, recipe_option("corpus.target_language", "--target-language", panel=_INSTEAD)
    ] = None,
) -> None:
    """Prepare, train, translate the test set and score it, as a recipe says.

    Writes FOLDER/corpus, FOLDER/run, FOLDER/test.hyp and FOLDER/scores.json. What is up to date is not made again.

    Example: `mtkit run quickstart -o quickstart`
    """
    flags = {
        "vocabulary.size": ("--vocab-size", vocab_size),
        "model.preset": ("--preset", preset),
        "training.max_steps": ("--max-steps", max_steps),
        "training.max_minutes": ("--max-minutes", max_minutes),
        "corpus.source_language": ("--source-language", source_language),
        "corpus.target_language": ("--target-language", target_language),
    }
    texts = replace_texts(source, target, (valid_source, valid_target), (test_source, test_target))
    resolved = gather(recipe, set_values, flags, texts)
    refuse_size(vocab_size, resolved.vocabulary)
    _refuse_part(output)

    corpus = run_preparation(resolved, output / "corpus", overwrite=overwrite, device=device, threads=threads)
    model = _train(resolved, output, device, threads, overwrite)
    if corpus.test is None or len(corpus.test) == 0:
        console.say(f"the corpus has no test set, so nothing is scored; the model is {model}")
        return
    hypotheses = _translate(resolved, output, model, corpus, device, threads)
    scores = _score(resolved, output, hypotheses, corpus)
    from mtkit.cli.evaluate import print_scores

    print_scores([("run", scores)])


def _refuse_part(output: Path) -> None:
    """Refuse to write into what is itself a prepared corpus, a run or a model, in whose way the results would be."""
    from mtkit.checkpoint.run_folder import RunFolder
    from mtkit.corpus.manifest import is_prepared_corpus
    from mtkit.interop.output import is_model_folder

    kinds = {
        "a prepared corpus": is_prepared_corpus(output),
        "a run": RunFolder(output).is_run,
        "a model folder": is_model_folder(output),
    }
    for kind, stands in kinds.items():
        if stands:
            raise OutputError(
                f"{kind} stands there: mtkit run makes a folder around corpus/ and run/",
                at=output,
                fix="choose another folder with -o",
            )


def _train(recipe: Recipe, output: Path, device: DeviceName, threads: int | None, overwrite: bool) -> Path:
    """Return the finished model."""
    from mtkit.checkpoint.model_folder import RUN_FOLDER

    folder = output / RUN_FOLDER
    outcome = run_training(output / "corpus", recipe, folder, device=device, threads=threads, restart=overwrite)
    assert outcome.model is not None
    if outcome.was_up_to_date:
        say_up_to_date(folder, "finished, same corpus, same settings", "trained")
    return outcome.model


def _translate(
    recipe: Recipe, output: Path, model: Path, corpus: PreparedCorpus, device: DeviceName, threads: int | None
) -> list[str]:
    """Return the model's translations of the test set, and keep them as text."""
    from mtkit.cli.systems import translate_lines, write_lines
    from mtkit.corpus.text_files import read_lines
    from mtkit.decoding.request import Request

    assert corpus.test is not None
    path = output / HYPOTHESES_NAME
    tags = [corpus.tag_of(pair.corpus) for pair in corpus.test]
    made_from = {
        "model": {file.name: hash_file(file) for file in sorted(model.iterdir()) if file.suffix != ".md"},
        "source": hash_file(corpus.text_path("test", "source")),
        "decoding": recipe.decoding.model_dump(mode="json"),
        "tags": [[tag, len(list(lines))] for tag, lines in itertools.groupby(tags)],
    }
    if path.is_file() and _read_record(output, "translation") == {**made_from, "hypotheses": hash_file(path)}:
        say_up_to_date(path, "same model, same test text, same decoding", "translated")
        return read_lines(path)
    requests = [Request(line, tag) for line, tag in zip(corpus.test.source_lines(), tags, strict=True)]
    hypotheses = translate_lines(model, requests, recipe.decoding, device, threads)
    write_lines(hypotheses, path)
    # What was scored before, if anything, was something else.
    write_json({"made_from": {"translation": {**made_from, "hypotheses": hash_file(path)}}}, output / SCORES_NAME)
    return hypotheses


def _score(recipe: Recipe, output: Path, hypotheses: Sequence[str], corpus: PreparedCorpus) -> Scores:
    """Return the scores of the translations, and keep them as JSON."""
    from mtkit.cli.evaluate import build_report, score_systems
    from mtkit.cli.systems import System
    from mtkit.evaluation.metrics import Scores

    path = output / SCORES_NAME
    made_from = {
        "reference": hash_file(corpus.text_path("test", "target")),
        "target_language": corpus.target_language,
        "evaluation": recipe.evaluation.model_dump(mode="json"),
        "sacrebleu": version("sacrebleu"),
    }
    if _read_record(output, "scoring") == made_from:
        say_up_to_date(path, "same translations, same references, same metrics", "scored")
        return Scores.from_json(_read_scores(output)["systems"][0])
    assert corpus.test is not None
    system = System("run", list(hypotheses))
    references = [corpus.test.target_lines()]
    scores = score_systems([system], references, recipe.evaluation, corpus.target_language)["run"]
    records = {"translation": _read_record(output, "translation"), "scoring": made_from}
    write_json({**build_report([("run", scores)]), "made_from": records}, path)
    return scores


def _read_scores(output: Path) -> dict[str, Any]:
    try:
        return read_json(output / SCORES_NAME)
    except (OSError, ValueError):
        return {}


def _read_record(output: Path, step: str) -> Any:
    """Return what `scores.json` says that a step's result was made from; None if it says nothing."""
    made_from = _read_scores(output).get("made_from")
    return made_from.get(step) if isinstance(made_from, dict) else None
