"""The command `mtkit embed`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtkit.cli.options import (
    MORE_OPTIONS,
    DecodingRecipeOption,
    DeviceOption,
    PrecisionOption,
    QuietOption,
    SetOption,
    TagOption,
    ThreadsOption,
    gather,
    recipe_option,
)
from mtkit.cli.places import STANDARD, check_places, without_standard
from mtkit.config.decoding import DecodingSection
from mtkit.errors import RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

if TYPE_CHECKING:
    from mtkit.inspection.embedding import Embedder, Pooling
    from mtkit.inspection.sides import Side

_COMPARE = "Comparing two texts"

MAX_PARALLEL = 20_000
_OWNERS = {"--k": "--neighbours", "--threshold": "--mine", "--direction": "--mine"}


def embed(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Text, one sentence a line, or vectors made before (.npy, .parquet, .jsonl). [default: standard input]"
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Run or model folder.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to write: vectors as .npy, .parquet or .jsonl, comparisons as a table. [default: standard "
            "output, vectors as JSON lines]",
        ),
    ] = None,
    pooling: Annotated[
        Literal["mean", "max", "first"] | None,
        typer.Option(
            "--pooling",
            help="What is made of the states of a sentence's tokens. [default: mean]",
            show_default=False,
        ),
    ] = None,
    tag: TagOption = None,
    similarity: Annotated[
        Path | None,
        typer.Option(
            "--similarity",
            metavar="OTHER",
            help="Compare line by line with this file: a cosine a line.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    neighbours: Annotated[
        Path | None,
        typer.Option(
            "--neighbours",
            metavar="OTHER",
            help="Find the nearest lines of this file for each line.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    mine: Annotated[
        Path | None,
        typer.Option(
            "--mine",
            metavar="OTHER",
            help="Find the pairs of lines of both files that are likely translations of each other.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    other_tag: Annotated[
        str | None,
        typer.Option(
            "--other-tag",
            help="What --tag is, for OTHER. [default: the same]",
            rich_help_panel=_COMPARE,
            show_default=False,
        ),
    ] = None,
    centre: Annotated[
        bool,
        typer.Option(
            "--centre",
            help="Subtract from the vectors of each file their mean; helps where the files are of two languages.",
            rich_help_panel=_COMPARE,
        ),
    ] = False,
    parallel: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--parallel",
            metavar="TEXT TEXT",
            help="Parallel text, of the languages of the file and of OTHER, to learn from how their vectors relate: "
            f"a few hundred lines help much. At most {MAX_PARALLEL:,} are read.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="With --mine: leave out pairs with a lower score.", rich_help_panel=_COMPARE),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            min=1,
            help="With --neighbours: lines found for each line. [default: 4]",
            rich_help_panel=_COMPARE,
            show_default=False,
        ),
    ] = None,
    margin: Annotated[
        Literal["absolute", "distance", "ratio"] | None,
        typer.Option(
            "--margin",
            help="absolute: the cosine; distance, ratio: relative to the mean cosine with the nearest lines. [default: "
            "absolute with --similarity, else ratio]",
            rich_help_panel=MORE_OPTIONS,
            show_default=False,
        ),
    ] = None,
    margin_k: Annotated[
        int | None,
        typer.Option(
            "--margin-k",
            min=1,
            help="Nearest lines that a margin is taken from. [default: 4]",
            rich_help_panel=MORE_OPTIONS,
            show_default=False,
        ),
    ] = None,
    direction: Annotated[
        Literal["max", "intersection", "forward", "backward"] | None,
        typer.Option(
            "--direction",
            help="With --mine: each line with its best one (forward), of OTHER (backward), what is both "
            "(intersection), or the best of either, no line twice (max). [default: max]",
            rich_help_panel=MORE_OPTIONS,
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(
            "--layer",
            min=1,
            help="Encoder layer, from 1. [default: the last]",
            rich_help_panel=MORE_OPTIONS,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        recipe_option(
            "decoding.batch_size", "--batch-size", help="Sentences computed at once, at most", panel=MORE_OPTIONS
        ),
    ] = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    recipe: DecodingRecipeOption = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn sentences into vectors, or compare those of two texts.

    A vector is made of the states of the model's encoder. An empty line gives zeros.

    Example: `mtkit embed test.en --model run -o test.npy`

    Example: `mtkit embed a.en --model run --mine b.de -o pairs.tsv`

    The table of --neighbours and --mine has the columns score, source_line, target_line (from 1), source and target.
    """
    compared = {"--similarity": similarity, "--neighbours": neighbours, "--mine": mine}
    given = {flag: path for flag, path in compared.items() if path is not None}
    flag, other = next(iter(given.items()), (None, None))
    file, output = without_standard(file), without_standard(output)
    if len(given) > 1:
        raise RecipeError("two comparisons at once", at=" ".join(given), fix=f"give only {flag}")
    _check_flags(
        flag,
        {
            "--other-tag": other_tag,
            "--centre": centre or None,
            "--parallel": parallel,
            "--margin": margin,
            "--margin-k": margin_k,
            "--k": k,
            "--threshold": threshold,
            "--direction": direction,
        },
    )
    others = [] if other is None else [other, *(parallel or ())]
    if STANDARD in others:
        raise RecipeError("standard input can only be the first text", at="-", fix="name a file")
    check_places({"the input": file, **{str(path): path for path in others}}, {"-o": output})
    if centre and parallel is not None:
        raise RecipeError("--parallel centres by itself", at="--centre", fix="leave it out")
    options = {
        "decoding.tag": ("--tag", tag),
        "decoding.batch_size": ("--batch-size", batch_size),
        "decoding.precision": ("--precision", precision),
    }
    decoding = gather(recipe, set_values, options).decoding

    from mtkit.inspection.sides import open_side, store_sides, write_vectors

    sides = [open_side(path) for path in (file, *others)]
    of_text = {
        "--model": model,
        "--pooling": pooling,
        "--layer": layer,
        "--tag": tag,
        "--other-tag": other_tag,
        "--batch-size": batch_size,
        "--precision": precision,
        "--recipe": recipe,
        "--set": set_values or None,
    }
    _check_model(sides, of_text)

    from mtkit.runtime.device import resolve_device, set_threads

    set_threads(threads)
    place = resolve_device(device)
    embedder = None if model is None else _load_embedder(model, decoding, device, pooling or "mean", layer)
    if other is None:
        assert embedder is not None
        write_vectors(embedder, sides[0], output)
        return

    from mtkit.decoding.output import open_output
    from mtkit.inspection import comparison
    from mtkit.inspection.neighbours import DEFAULT_NEIGHBOURS, PairScorer
    from mtkit.inspection.vectors import VectorStore, check_lines

    with open_output(output) as table, VectorStore() as store:
        left, right = store_sides(
            store, embedder, sides, other_tag=other_tag, centred=centre, max_parallel=MAX_PARALLEL
        )
        if flag == "--similarity":
            check_lines(left, right)
        chosen = margin or ("absolute" if flag == "--similarity" else "ratio")
        scorer = PairScorer(left, right, chosen, margin_k or DEFAULT_NEIGHBOURS, place)
        match flag:
            case "--similarity":
                said = comparison.write_similarity(scorer, table)
            case "--neighbours":
                said = comparison.write_neighbours(scorer, k or DEFAULT_NEIGHBOURS, table)
            case _:
                said = comparison.write_pairs(scorer, direction or "max", threshold, table)
    console.say(said)


def _load_embedder(
    model: Path, decoding: DecodingSection, device: DeviceName, pooling: Pooling, layer: int | None
) -> Embedder:
    from mtkit.cli.models import warn_of_missing_tag
    from mtkit.inspection.embedding import Embedder
    from mtkit.runtime.memory import BATCH_KERNELS, bound_kernel_caches, keep_freed_memory

    warn_of_missing_tag(model, decoding.tag)
    bound_kernel_caches(BATCH_KERNELS)
    keep_freed_memory()
    return Embedder.load(model, device=device, decoding=decoding, pooling=pooling, layer=layer)


def _check_flags(flag: str | None, given: dict[str, object]) -> None:
    """Refuse options of a comparison that is not made.

    Raises:
        RecipeError: There is one.
    """
    for name in (name for name, value in given.items() if value is not None):
        owner = _OWNERS.get(name)
        if owner is not None and flag != owner:
            raise RecipeError(f"{name} is a part of {owner}", at=name, fix=f"use {owner}, or leave it out")
        if flag is None:
            raise RecipeError(
                "there is nothing to compare with", at=name, fix="add --similarity, --neighbours or --mine, with a file"
            )


def _check_model(sides: Sequence[Side], of_text: Mapping[str, object]) -> None:
    """Refuse text without a model, and vectors where they are of no use.

    Args:
        sides: Those to embed or to compare.
        of_text: What is given for text, by option.

    Raises:
        RecipeError: Either is the case, or something is given for text where there is none.
    """
    from mtkit.inspection.sides import TextSide

    texts = [side for side in sides if isinstance(side, TextSide)]
    if len(sides) == 1 and not texts:
        raise RecipeError(
            "these are vectors already", at=sides[0].name, fix="give text, or compare them: --similarity FILE"
        )
    if texts and of_text["--model"] is None:
        raise RecipeError("text needs a model to embed it", at=texts[0].name, fix="add --model RUN")
    for name in (name for name, value in of_text.items() if value is not None and not texts):
        raise RecipeError(f"vectors need no {name.removeprefix('--')}", at=name, fix="leave it out")
