"""The command `mtkit score`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtkit.cli.options import (
    MORE_OPTIONS,
    DecodingRecipeOption,
    DeviceOption,
    LengthPenaltyOption,
    ModelsOption,
    OutputOption,
    PrecisionOption,
    QuietOption,
    SetOption,
    TagOption,
    ThreadsOption,
    gather,
    recipe_option,
)
from mtkit.cli.places import check_places, without_standard
from mtkit.errors import RecipeError
from mtkit.runtime import console

if TYPE_CHECKING:
    from mtkit.decoding.formats import JsonLines, Table
    from mtkit.decoding.score_pipeline import ScoreSummary
    from mtkit.decoding.stream import LineStream

_LIST = "N-best lists"


def score(
    model: ModelsOption,
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Source text; or, without TARGET, a file that holds both sides. [default: standard input]",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Path | None, typer.Argument(help="Translations to score, a line for each source.", show_default=False)
    ] = None,
    output: OutputOption = None,
    normalize: Annotated[
        Literal["none", "mean", "penalty"] | None,
        typer.Option(
            "--normalize",
            help="The number to tell. none: the log-probability; mean: the log-probability divided by the number of "
            "tokens; penalty: the score, after the length penalty. [default: none; penalty for n-best lists, and with "
            "--length-penalty]",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Tell of each token too: pieces, and their log-probabilities.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Answer each pair with a JSON object of all numbers and tokens.")
    ] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Show perplexity a token, a word and a character at the end (stderr).")
    ] = False,
    length_penalty: LengthPenaltyOption = None,
    tag: TagOption = None,
    n_best: Annotated[
        Path | None,
        typer.Option(
            "--n-best",
            help="Score this n-best list, 'i ||| text ||| score', in place of TARGET; answered in the same form, "
            "best first.",
            rich_help_panel=_LIST,
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            "--weight",
            min=0,
            max=1,
            help="Of the new score; the list's own has the rest. [default: 1]",
            rich_help_panel=_LIST,
            show_default=False,
        ),
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Write the best text of each source alone.", rich_help_panel=_LIST)
    ] = False,
    format_name: Annotated[
        Literal["jsonl", "tsv"] | None,
        typer.Option(
            "--format",
            help="Without TARGET: JSON objects, or a table under a header, with 'source' and 'target' (or "
            "'translation'). [default: by suffix]",
            rich_help_panel=MORE_OPTIONS,
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop at a pair that cannot be scored, where it would be answered without a score.",
            rich_help_panel=MORE_OPTIONS,
        ),
    ] = False,
    batch_size: Annotated[
        int | None,
        recipe_option("decoding.batch_size", "--batch-size", help="Pairs scored at once, at most", panel=MORE_OPTIONS),
    ] = None,
    batch_tokens: Annotated[
        int | None,
        recipe_option(
            "decoding.batch_tokens",
            "--batch-tokens",
            help="Tokens of the longer side scored at once, padding included, at most",
            panel=MORE_OPTIONS,
        ),
    ] = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    recipe: DecodingRecipeOption = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score given translations by a model's natural log-probability, end of sentence included.

    Example: `mtkit score --model run test.en test.de --summary`

    N pairs in, N numbers out, in order. What is scored is the text, in the vocabulary's own segmentation: where a
    translation was spelled in other pieces, its score here differs from the one that it was found with. A pair is
    scored whole, never split; one that is too long for the model, or above 4,096 tokens a side, has no score, and is
    named. An empty target has the log-probability of the end of sentence; an empty source is scored as such.

    N-best lists: `mtkit score --model other test.en --n-best test.nbest --rerank`
    """
    flags = {
        "decoding.length_penalty": ("--length-penalty", length_penalty),
        "decoding.tag": ("--tag", tag),
        "decoding.batch_size": ("--batch-size", batch_size),
        "decoding.batch_tokens": ("--batch-tokens", batch_tokens),
        "decoding.precision": ("--precision", precision),
    }
    decoding = gather(recipe, set_values, flags).decoding
    file, other = without_standard(source), without_standard(target if n_best is None else n_best)
    output = without_standard(output)
    has_other = target is not None or n_best is not None
    _check_use(
        {"--tokens": tokens, "--json": json_output, "--format": format_name, "TARGET": target},
        {"--weight": weight is not None, "--rerank": rerank},
        n_best,
    )
    if has_other and file is None and other is None:
        raise RecipeError("both inputs are standard input", at="SOURCE", fix="give a file for one of them")
    if has_other and format_name is not None:
        raise RecipeError(
            "--format is of one file that holds both sides", at="--format", fix="leave out TARGET or --format"
        )
    check_places({"the input": file, "TARGET" if n_best is None else "--n-best": other}, {"-o": output})

    from mtkit.decoding.n_best import iter_groups, rescore
    from mtkit.decoding.output import open_output
    from mtkit.decoding.problems import warn_undecodable
    from mtkit.decoding.score_formats import build_answers
    from mtkit.decoding.score_pipeline import check_lengths, iter_line_pairs, iter_records, score_windows

    normalize = normalize or ("none" if n_best is None and length_penalty is None else "penalty")
    reader = None if has_other else _build_reader(format_name, file)
    streams = [_open(file), *([_open(other)] if has_other else [])]
    num_lines = [_count(path) for path in ([file, other] if has_other else [file])]
    if target is not None:
        check_lengths(streams, num_lines)

    from mtkit.cli.models import load_translator, warn_of_missing_tag
    from mtkit.decoding.scoring import Scorer
    from mtkit.runtime.memory import BATCH_KERNELS, bound_kernel_caches

    bound_kernel_caches(BATCH_KERNELS)
    if reader is None:
        warn_of_missing_tag(model[0], decoding.tag)
    scorer = Scorer(load_translator(model, decoding, device, threads))
    with ExitStack() as stack:
        answers = stack.enter_context(open_output(output))
        advance = None
        if num_lines[-1] is not None and console.is_terminal() and not answers.is_terminal:
            advance = stack.enter_context(console.progress("scoring", num_lines[-1], "pairs"))
        if n_best is not None:
            result = rescore(
                scorer,
                iter_groups(streams[0], streams[1], scorer.window_lines),
                answers,
                normalize=normalize,
                weight=1.0 if weight is None else weight,
                best_only=rerank,
                strict=strict,
                advance=advance,
            )
        else:
            kinds = build_answers(reader, normalize, has_tokens=tokens, is_json=json_output)
            if reader is None:
                windows = iter_line_pairs(streams[0], streams[1], scorer.window_lines)
            else:
                windows = iter_records(streams[0], reader, kinds, answers, scorer.window_lines)
            result = score_windows(scorer, windows, kinds, answers, strict=strict, advance=advance)
    for stream in streams:
        warn_undecodable(stream, done="scored")
    console.say(str(result))
    if summary:
        _show_summary(result)


def _check_use(pairs_only: dict[str, object], lists_only: dict[str, bool], n_best: Path | None) -> None:
    """Refuse flags that have no meaning here.

    Raises:
        RecipeError: A flag of n-best lists is given without one, or the other way about.
    """
    for flag, is_given in (lists_only if n_best is None else pairs_only).items():
        if is_given:
            message = f"{flag} is of n-best lists" if n_best is None else f"{flag} does not go with --n-best"
            fix = "give the list with --n-best" if n_best is None else "leave one of them out"
            raise RecipeError(message, at=flag, fix=fix)


def _build_reader(format_name: Literal["jsonl", "tsv"] | None, file: Path | None) -> JsonLines | Table:
    """Return how to read a file that holds both sides.

    Raises:
        RecipeError: Neither the flag nor its suffix says how.
    """
    from mtkit.decoding.formats import JsonLines, Table, find_format

    match format_name or find_format(file):
        case "jsonl":
            return JsonLines(1)
        case "tsv":
            return Table(1)
        case _:
            raise RecipeError(
                "there is nothing to score: plain text needs two files, SOURCE and TARGET",
                at="standard input" if file is None else file,
                fix="give TARGET or --n-best; or, for a file that holds both sides, --format tsv or jsonl",
            )


def _open(path: Path | None) -> LineStream:
    from mtkit.decoding.stream import open_file, open_standard_input

    return open_standard_input() if path is None else open_file(path)


def _count(path: Path | None) -> int | None:
    """Return the number of lines of a file; None where it can be read only once."""
    from mtkit.decoding.stream import count_lines

    return count_lines(path) if path is not None and path.is_file() else None


def _show_summary(summary: ScoreSummary) -> None:
    rows = [
        (name, count, f"{perplexity:,.3f}" if count else "", f"{bits:.3f}" if count else "")
        for name, count, perplexity, bits in summary.build_rows()
    ]
    console.show_table("Perplexity", ["a", "count", "perplexity", "bits"], rows)
