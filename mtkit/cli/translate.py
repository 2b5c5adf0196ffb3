"""The command `mtkit translate`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from mtkit.cli.options import QuietOption, SetOption, ThreadsOption, gather, recipe_option
from mtkit.errors import RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

_MORE = "More options"
_STANDARD = Path("-")


def translate(
    model: Annotated[Path, typer.Option("--model", "-m", help="Run or model folder.", show_default=False)],
    file: Annotated[
        Path | None, typer.Argument(help="Text to translate, one sentence a line. [default: standard input]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write. [default: standard output]")
    ] = None,
    beam_size: Annotated[int | None, recipe_option("decoding.beam_size", "--beam-size")] = None,
    n_best: Annotated[int | None, recipe_option("decoding.n_best", "--n-best")] = None,
    length_penalty: Annotated[float | None, recipe_option("decoding.length_penalty", "--length-penalty")] = None,
    format_name: Annotated[
        Literal["lines", "jsonl", "tsv"] | None,
        typer.Option(
            "--format",
            help="Plain lines, JSON objects with a 'source', or a table with such a column. [default: by "
            "suffix, else lines]",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", help="Also write a table of score, log_prob, tokens and cut, a row each.")
    ] = None,
    tag: Annotated[str | None, recipe_option("decoding.tag", "--tag")] = None,
    batch_size: Annotated[int | None, recipe_option("decoding.batch_size", "--batch-size", panel=_MORE)] = None,
    batch_tokens: Annotated[int | None, recipe_option("decoding.batch_tokens", "--batch-tokens", panel=_MORE)] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "auto"] | None, recipe_option("decoding.precision", "--precision", panel=_MORE)
    ] = None,
    device: Annotated[
        DeviceName,
        typer.Option("--device", help="Where to compute; auto takes a GPU if there is one.", rich_help_panel=_MORE),
    ] = "auto",
    threads: ThreadsOption = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Take the decoding section of this recipe.", rich_help_panel=_MORE)
    ] = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Translate text, line by line: N lines in, N lines out, in order; an empty line stays empty.

    Example: `mtkit translate --model run test.en -o test.hyp --beam-size 5`

    Standard input is read until it ends; a line that is typed, or that a program writes before it waits, is answered
    at once.
    """
    flags = {
        "decoding.beam_size": ("--beam-size", beam_size),
        "decoding.n_best": ("--n-best", n_best),
        "decoding.length_penalty": ("--length-penalty", length_penalty),
        "decoding.tag": ("--tag", tag),
        "decoding.batch_size": ("--batch-size", batch_size),
        "decoding.batch_tokens": ("--batch-tokens", batch_tokens),
        "decoding.precision": ("--precision", precision),
    }
    decoding = gather(recipe, set_values, flags).decoding
    file, output = (None if path == _STANDARD else path for path in (file, output))
    _check_places(file, output, scores)

    from mtkit.decoding.formats import build_format, find_format
    from mtkit.decoding.output import open_output
    from mtkit.decoding.stream import count_lines, open_file, open_standard_input

    stream = open_standard_input() if file is None else open_file(file)
    line_format = build_format(format_name or find_format(file), decoding.n_best)

    from mtkit.decoding.pipeline import translate_stream
    from mtkit.decoding.translator import Translator

    translator = Translator.load(model, device=device, decoding=decoding, threads=threads)
    with ExitStack() as stack:
        answers = stack.enter_context(open_output(output))
        table = None if scores is None else stack.enter_context(open_output(scores))
        advance = None
        if file is not None and file.is_file() and console.is_terminal() and not answers.is_terminal:
            advance = stack.enter_context(console.progress("translating", count_lines(file), "lines"))
        summary = translate_stream(translator, stream, line_format, output=answers, scores=table, advance=advance)
    console.say(str(summary))


def _check_places(file: Path | None, output: Path | None, scores: Path | None) -> None:
    """Refuse to write over what is read, or to write two things to one place.

    Raises:
        RecipeError: Two of the places are the same file.
    """
    named = [("the input", file), ("-o", output), ("--scores", scores)]
    given = [(name, path.resolve()) for name, path in named if path is not None and not path.is_char_device()]
    for i, (name, path) in enumerate(given):
        for other, other_path in given[i + 1 :]:
            if path == other_path:
                raise RecipeError(f"{name} and {other} are the same file", at=path, fix=f"give {other} another name")
