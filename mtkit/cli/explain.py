"""The command `mtkit explain`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtkit.cli.options import (
    MORE_OPTIONS,
    DecodingRecipeOption,
    DeviceOption,
    QuietOption,
    SetOption,
    ThreadsOption,
    gather,
    recipe_option,
)
from mtkit.errors import RecipeError
from mtkit.runtime import console

if TYPE_CHECKING:
    from torch import Tensor

    from mtkit.inspection.explanation import Explanation

_LOOK = "What to look at (a page and JSON hold everything)"
_PICTURES = (".png", ".svg", ".pdf")
_SUFFIXES = (".html", *_PICTURES, ".json")
_NUM_SHOWN = 3


def explain(
    sentence: Annotated[str, typer.Argument(help="What to translate, in quotes.", show_default=False)],
    model: Annotated[Path, typer.Option("--model", "-m", help="Run or model folder.", show_default=False)],
    target: Annotated[
        str | None, typer.Option("--target", help="Look at this translation, in place of the model's own.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to write: .html (a page to explore), .png, .svg, .pdf or .json. [default: text to standard "
            "output]",
            show_default=False,
        ),
    ] = None,
    attention: Annotated[
        Literal["encoder", "decoder", "cross"],
        typer.Option(
            "--attention",
            help="Self-attention of the encoder or the decoder, or from the decoder to the source.",
            rich_help_panel=_LOOK,
        ),
    ] = "cross",
    layer: Annotated[
        int | None,
        typer.Option(
            "--layer", min=1, help="From 1. [default: the mean of all]", show_default=False, rich_help_panel=_LOOK
        ),
    ] = None,
    head: Annotated[
        int | None,
        typer.Option(
            "--head", min=1, help="From 1. [default: the mean of all]", show_default=False, rich_help_panel=_LOOK
        ),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid", help="A picture of each layer and head that is not chosen, not their mean.", rich_help_panel=_LOOK
        ),
    ] = False,
    word: Annotated[
        str | None, typer.Option("--word", help="Only what this word looks at, as lines.", rich_help_panel=_LOOK)
    ] = None,
    pieces: Annotated[
        bool, typer.Option("--pieces", help="Show pieces, not joined to words.", rich_help_panel=_LOOK)
    ] = False,
    beam_size: Annotated[int | None, recipe_option("decoding.beam_size", "--beam-size", panel=MORE_OPTIONS)] = None,
    tag: Annotated[str | None, recipe_option("decoding.tag", "--tag", panel=MORE_OPTIONS)] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    recipe: DecodingRecipeOption = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show what a model looks at when it translates: attention, word alignment, and the beam step by step.

    Example: `mtkit explain --model run "The animal was too tired." -o page.html`

    Joined to words, the weights of a word's pieces are added where they are looked at, and averaged where they look.
    """
    flags = {"decoding.beam_size": ("--beam-size", beam_size), "decoding.tag": ("--tag", tag)}
    decoding = gather(recipe, set_values, flags).decoding
    suffix = _check_output(output, grid=grid, word=word)

    _warn_of_file(sentence)

    from mtkit.cli.models import warn_of_missing_tag
    from mtkit.decoding.inference import load_for_inference
    from mtkit.inspection.explanation import explain as explain_sentence

    warn_of_missing_tag(model, decoding.tag)
    loaded = load_for_inference(model, device, decoding.precision, threads)
    explanation = explain_sentence(loaded, sentence, decoding, target)
    # A wrong layer or head shows whatever is written.
    view = explanation.view(attention, layer, head, by_word=not pieces)
    if output is None:
        _print(explanation, *view, name="source word" if attention == "encoder" else "target word")
        return
    if suffix in _PICTURES:
        from mtkit.inspection.figure import draw

        draw(explanation, output, attention, layer, head, by_word=not pieces, is_grid=grid, word=word)
    else:
        _write_text(explanation, output, _dump_json if suffix == ".json" else _build_page)
    console.say(f"wrote {output}: {explanation.translation}")


def _warn_of_file(sentence: str) -> None:
    """Warn where a sentence is the name of a file."""
    with suppress(OSError):  # too long for a name
        if Path(sentence).is_file():
            console.warn(f"{sentence} is a file, and only its name is explained: give a sentence of it, in quotes")


def _check_output(output: Path | None, *, grid: bool, word: str | None) -> str | None:
    """Return the suffix of the output, in small letters.

    Raises:
        RecipeError: It is no format that is known, or a flag asks for what it cannot show.
    """
    suffix = None if output is None else output.suffix.lower()
    if suffix is not None and suffix not in _SUFFIXES:
        raise RecipeError(
            f"the name must tell the format, and '{suffix}' is none" if suffix else "the name must tell the format",
            at=f"-o {output}",
            fix=f"end it in one of {', '.join(_SUFFIXES)}",
        )
    for name, is_given in (("--grid", grid), ("--word", word is not None)):
        if is_given and suffix not in _PICTURES:
            raise RecipeError(f"{name} is for pictures", at=name, fix="add -o picture.png (or .svg, .pdf)")
    if grid and word is not None:
        raise RecipeError("--grid and --word exclude each other", at="--grid", fix="give one of them")
    return suffix


def _build_page(explanation: Explanation) -> str:
    from mtkit.pages.explain_page import build_explain_page

    return build_explain_page(explanation.to_json())


def _dump_json(explanation: Explanation) -> str:
    return json.dumps(explanation.to_json(), ensure_ascii=False) + "\n"


def _write_text(explanation: Explanation, output: Path, build: Callable[[Explanation], str]) -> None:
    from mtkit.runtime.files import atomic_file

    text = build(explanation)
    with atomic_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _print(explanation: Explanation, weights: Tensor, queries: list[str], keys: list[str], *, name: str) -> None:
    """Print what fits on a screen: the translation, its links, and what each word looks at most."""
    from mtkit.decoding.translation import format_links

    source, target = explanation.source.split(), explanation.translation.split()
    print(f"source       {explanation.source}")  # noqa: T201
    print(f"translation  {explanation.translation}")  # noqa: T201
    print(f"log_prob     {explanation.log_prob:.4f}")  # noqa: T201
    print(f"alignment    {format_links(explanation.links)}")  # noqa: T201
    named = [f"{source[i]} = {target[j]}" for i, j in explanation.links if i < len(source) and j < len(target)]
    print(f"             {', '.join(named)}")  # noqa: T201
    print()  # noqa: T201
    rows = []
    for query, row in zip(queries, weights.tolist(), strict=True):
        ranked = sorted(range(len(row)), key=lambda key: -row[key])[:_NUM_SHOWN]
        rows.append([query, *(f"{keys[key]} {row[key]:.2f}" for key in ranked)])
    width = max(map(len, rows))
    columns = [name, "looks at most", *[""] * (width - 2)]
    console.print_table(None, columns, [[*row, *[""] * (width - len(row))] for row in rows])
