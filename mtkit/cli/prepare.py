"""The command `mtkit prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from mtkit.cli.preparing import refuse_size, run_preparation
from mtkit.runtime.device import DeviceName


def prepare(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CORPUS", help="Folder to write.")],
    recipe: Annotated[
        str | None, typer.Argument(help="Recipe whose corpus and vocabulary to prepare: a file, or a bundled one.")
    ] = None,
    source: Annotated[
        list[Path] | None, typer.Option("--source", help="Training text, source side; repeatable.")
    ] = None,
    target: Annotated[
        list[Path] | None, typer.Option("--target", help="Training text, target side; repeatable.")
    ] = None,
    valid_source: Annotated[Path | None, typer.Option("--valid-source", help="Validation text, source side.")] = None,
    valid_target: Annotated[Path | None, typer.Option("--valid-target", help="Validation text, target side.")] = None,
    test_source: Annotated[Path | None, typer.Option("--test-source", help="Test text, source side.")] = None,
    test_target: Annotated[Path | None, typer.Option("--test-target", help="Test text, target side.")] = None,
    source_language: Annotated[str | None, recipe_option("corpus.source_language", "--source-language")] = None,
    target_language: Annotated[str | None, recipe_option("corpus.target_language", "--target-language")] = None,
    vocab_size: Annotated[int | None, recipe_option("vocabulary.size", "--vocab-size")] = None,
    device: Annotated[DeviceName, typer.Option("--device", help="Where the models of a filter compute.")] = "auto",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Clean parallel text, learn its vocabulary, and write both as a prepared corpus.

    Files may end in .gz, .bz2, .xz or .zst. Validation and test text that is not given is split off the training text,
    so that no sentence stands on two sides. TSV, JSON lines, Parquet, PO, TMX, XLIFF and Hugging Face data sets:
    `--set corpus.train.0.path=train.tsv`, `--set corpus.train.0.dataset=bentrevett/multi30k`.

    Example: `mtkit prepare --source train.en --target train.de -o corpus`
    """
    flags = {
        "corpus.source_language": ("--source-language", source_language),
        "corpus.target_language": ("--target-language", target_language),
        "vocabulary.size": ("--vocab-size", vocab_size),
    }
    texts = replace_texts(source, target, (valid_source, valid_target), (test_source, test_target))
    resolved = gather(recipe, set_values, flags, texts)
    refuse_size(vocab_size, resolved.vocabulary)
    run_preparation(resolved, output, overwrite=overwrite, device=device, threads=threads)
