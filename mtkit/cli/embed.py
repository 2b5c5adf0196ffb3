"""The command `mtkit embed`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    ThreadsOption,
    gather,
    recipe_option,
)
from mtkit.errors import RecipeError
from mtkit.runtime import console

if TYPE_CHECKING:
    from mtkit.decoding.stream import LineStream
    from mtkit.inspection.embedding import Embedder
    from mtkit.inspection.vector_files import Matrix
    from mtkit.inspection.vectors import Vectors, VectorStore

_COMPARE = "Comparing two texts"
_STANDARD = Path("-")

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
        Literal["mean", "max", "first"],
        typer.Option("--pooling", help="What is made of the states of a sentence's tokens."),
    ] = "mean",
    tag: Annotated[str | None, recipe_option("decoding.tag", "--tag")] = None,
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
    file, output = (None if path == _STANDARD else path for path in (file, output))
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
    _check_places([file, other, *(parallel or ())], output)
    if centre and parallel is not None:
        raise RecipeError("--parallel centres by itself", at="--centre", fix="leave it out")
    options = {
        "decoding.tag": ("--tag", tag),
        "decoding.batch_size": ("--batch-size", batch_size),
        "decoding.precision": ("--precision", precision),
    }
    decoding = gather(recipe, set_values, options).decoding

    paths = [file] if other is None else [file, other, *(parallel or ())]
    sides = [_open_side(path) for path in paths]
    _check_model(sides, model)

    from mtkit.runtime.device import resolve_device, set_threads
    from mtkit.runtime.memory import bound_kernel_caches, keep_freed_memory

    set_threads(threads)
    place = resolve_device(device)
    embedder = None
    if model is not None:
        bound_kernel_caches()
        keep_freed_memory()
        from mtkit.inspection.embedding import Embedder

        embedder = Embedder.load(model, device=device, decoding=decoding, pooling=pooling, layer=layer)
    if other is None:
        assert embedder is not None
        _write_vectors(embedder, sides[0], output)
        return

    from mtkit.decoding.output import open_output
    from mtkit.inspection import comparison
    from mtkit.inspection.neighbours import DEFAULT_NEIGHBOURS, PairScorer
    from mtkit.inspection.vectors import VectorStore, check_lines

    with open_output(output) as table, VectorStore() as store:
        left, right = _store_sides(store, embedder, sides, other_tag, centre)
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


def _check_places(read: Sequence[Path | None], output: Path | None) -> None:
    """Refuse places that cannot be read or written together.

    Args:
        read: The first may be standard input: None.
        output: None for standard output.

    Raises:
        RecipeError: The output is one of the inputs, or standard input is not the first.
    """
    if _STANDARD in read:
        raise RecipeError("standard input can only be the first text", at="-", fix="name a file")
    for path in read:
        if path is not None and output is not None and path.resolve() == output.resolve():
            raise RecipeError("the output is also read", at=output, fix="give -o another name")


def _open_side(path: Path | None) -> LineStream | Path:
    """Return the lines of a text, or the path of a file of vectors.

    Raises:
        DataError: The file is missing.
    """
    from mtkit.corpus.text_files import open_bytes
    from mtkit.decoding.stream import open_file, open_standard_input
    from mtkit.inspection.vector_files import is_vector_file

    if path is None:
        return open_standard_input()
    if not is_vector_file(path):
        return open_file(path)
    with open_bytes(path):  # what is wrong shows now, not when the other file has been embedded
        return path


def _check_model(sides: Sequence[LineStream | Path], model: Path | None) -> None:
    """Refuse text without a model, and vectors where they are of no use.

    Raises:
        RecipeError: Either is the case.
    """
    texts = [side for side in sides if not isinstance(side, Path)]
    if len(sides) == 1 and not texts:
        raise RecipeError(
            "these are vectors already", at=_name(sides[0]), fix="give text, or compare them: --similarity FILE"
        )
    if texts and model is None:
        raise RecipeError("text needs a model to embed it", at=_name(texts[0]), fix="add --model RUN")
    if model is not None and not texts:
        raise RecipeError("vectors need no model", at="--model", fix="leave it out")


def _name(side: LineStream | Path) -> str:
    return str(side) if isinstance(side, Path) else side.name


def _iter_pieces(
    embedder: Embedder | None, side: LineStream | Path, tag: str | None
) -> Iterator[tuple[list[str] | None, Matrix]]:
    """Yield the texts and vectors of a side, made now or before, and say what was embedded."""
    if isinstance(side, Path):
        from mtkit.inspection.vector_files import iter_vectors

        yield from iter_vectors(side)
        return
    from mtkit.decoding.stream import count_lines

    assert embedder is not None
    path = Path(side.name)
    total = count_lines(path) if console.is_terminal() and path.is_file() else None
    with console.progress(f"embedding {side.name}", total, "lines") as advance:
        for window in side.iter_windows(embedder.window_lines):
            yield window, embedder.embed_window(window, tag)
            advance(len(window))
    console.say(f"{side.name}: {embedder.take_counts()}")
    if side.num_undecodable:
        console.warn(
            f"{side.name}: lines with bytes that are not UTF-8: {side.num_undecodable:,} (the first is line "
            f"{side.first_undecodable:,}); they were embedded with U+FFFD in place of those"
        )


def _store_sides(
    store: VectorStore,
    embedder: Embedder | None,
    sides: Sequence[LineStream | Path],
    other_tag: str | None,
    centred: bool,
) -> tuple[Vectors, Vectors]:
    """Return the vectors of two sides, in the space that the parallel text behind them teaches, if there is such."""
    tags = (None, other_tag) * (len(sides) // 2)
    pieces = [_iter_pieces(embedder, side, tag) for side, tag in zip(sides, tags, strict=True)]
    names = [_name(side) for side in sides]
    left, right = (store.add(*one, centred=centred) for one in zip(pieces[:2], names[:2], strict=True))
    if len(sides) > 2:
        from mtkit.inspection.mapping import learn_projections

        pairs = zip(pieces[2:], names[2:], strict=True)
        into_left, into_right = learn_projections(*(store.add(_take(one, MAX_PARALLEL), name) for one, name in pairs))
        left, right = into_left.apply(left), into_right.apply(right)
    return left, right


def _take(pieces: Iterator[tuple[list[str] | None, Matrix]], most: int) -> Iterator[tuple[list[str] | None, Matrix]]:
    """Yield the first `most` rows of what comes in pieces."""
    for texts, vectors in pieces:
        yield None if texts is None else texts[:most], vectors[:most]
        most -= len(vectors)
        if most <= 0:
            return


def _write_vectors(embedder: Embedder, side: LineStream | Path, output: Path | None) -> None:
    from mtkit.inspection.vector_files import open_vectors

    with open_vectors(output, embedder.num_dimensions) as vectors:
        for texts, matrix in _iter_pieces(embedder, side, None):
            vectors.write(texts or [], matrix)
