"""The command `mtkit align`."""

from __future__ import annotations

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
from mtkit.cli.places import check_places, without_standard
from mtkit.errors import DataError, ModelError, RecipeError
from mtkit.runtime import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtkit.checkpoint.model_folder import LoadedModel
    from mtkit.decoding.alignment import AlignmentStep, Links
    from mtkit.inspection.links import GoldLinks
    from mtkit.inspection.pair_alignment import Setting
    from mtkit.inspection.words import WordKind

_CHOICE = "Choosing a layer"


def align(
    source: Annotated[Path, typer.Argument(help="Source text, one sentence a line.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="Its translations, as many lines.", show_default=False)],
    model: Annotated[Path, typer.Option("--model", "-m", help="Run or model folder.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the links. [default: standard output]")
    ] = None,
    words: Annotated[
        Literal["spaces", "signs"],
        typer.Option(
            "--words",
            help="What is linked: what spaces part; or, signs, punctuation marks on their own too, and each character "
            "of scripts without spaces.",
        ),
    ] = "spaces",
    gold: Annotated[
        Path | None,
        typer.Option(
            "--gold",
            help="Print how well each decoder layer agrees with these links, a line a pair: 0-0 1-2, and 1p2 for a "
            "possible one.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    reverse_model: Annotated[
        Path | None,
        typer.Option(
            "--reverse-model",
            help="Print how well each decoder layer agrees with this model of the other direction.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    layer: Annotated[int | None, recipe_option("decoding.alignment_layer", "--layer")] = None,
    step: Annotated[Literal["output", "input"] | None, recipe_option("decoding.alignment_step", "--step")] = None,
    tag: Annotated[str | None, recipe_option("decoding.tag", "--tag", panel=MORE_OPTIONS)] = None,
    reverse_tag: Annotated[
        str | None, typer.Option("--reverse-tag", help="The tag for the other direction.", rich_help_panel=_CHOICE)
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    recipe: DecodingRecipeOption = None,
    set_values: SetOption = None,
    quiet: QuietOption = False,
) -> None:
    """Link the words of translations that are given: lines of `0-0 1-2`, source word and target word, from 0.

    Example: `mtkit align --model run test.en test.de -o test.links`

    With --gold or --reverse-model a table of the decoder's layers is printed instead, to choose
    decoding.alignment_layer and decoding.alignment_step on validation text; with --layer or --step, of those alone.
    """
    flags = {
        "decoding.alignment_layer": ("--layer", layer),
        "decoding.alignment_step": ("--step", step),
        "decoding.tag": ("--tag", tag),
    }
    decoding = gather(recipe, set_values, flags).decoding
    chooses = gold is not None or reverse_model is not None
    if chooses and output is not None:
        raise RecipeError(
            "--gold and --reverse-model print a table, and -o writes links",
            at=f"-o {output}",
            fix="do one, then the other",
        )
    if gold is not None and reverse_model is not None:
        raise RecipeError("--gold and --reverse-model exclude each other", at="--gold", fix="give one of them")
    if reverse_tag is not None and reverse_model is None:
        raise RecipeError(
            "--reverse-tag is for --reverse-model", at="--reverse-tag", fix="add --reverse-model, or use --tag"
        )
    output = without_standard(output)
    check_places({"the source": source, "the target": target}, {"-o": output})
    pairs, right = _read_pairs(source, target, gold, words)
    if words == "spaces":
        _warn_unspaced(pairs)

    from mtkit.cli.models import warn_of_missing_tag
    from mtkit.decoding.inference import load_for_inference
    from mtkit.inspection.pair_alignment import Setting, align_pairs, find_agreement, iter_links, score_settings
    from mtkit.runtime.memory import BATCH_KERNELS, bound_kernel_caches

    bound_kernel_caches(BATCH_KERNELS)
    warn_of_missing_tag(model, decoding.tag)
    if reverse_model is not None:
        warn_of_missing_tag(reverse_model, reverse_tag, "--reverse-tag ")
    loaded = load_for_inference(model, device, decoding.precision, threads)
    own = Setting(decoding.alignment_layer, decoding.alignment_step)
    is_given = decoding.alignment_layer is not None or "alignment_step" in decoding.model_fields_set
    settings = [own] if is_given or not chooses else _list_settings(loaded)
    _check(own, loaded)
    if not chooses:
        _write((row[own] for row in iter_links(loaded, pairs, settings, decoding, words)), output)
        return
    links = align_pairs(loaded, pairs, settings, decoding, words)
    if right is not None:
        rows: list[tuple[Setting, tuple[float | str, ...]]] = [
            (setting, (score.precision, score.recall, score.f1, score.aer))
            for setting, score in score_settings(links, right).items()
        ]
        _print_table(rows, ("precision", "recall", "F1", "AER"), best=2)
    elif reverse_model is not None:
        other = load_for_inference(reverse_model, device, decoding.precision, threads)
        if reverse_tag is None:
            _check_direction(loaded, other)
        turned = [(target_line, source_line) for source_line, target_line in pairs]
        section = decoding.model_copy(update={"tag": reverse_tag})
        reverse = align_pairs(other, turned, _list_settings(other), section, words)
        found = find_agreement(links, reverse)
        rows = [(setting, (agreement, *_name(partner))) for setting, (partner, agreement) in found.items()]
        _print_table(rows, ("F1 between both", "its layer", "its step"), best=0)


def _read_pairs(
    source: Path, target: Path, gold: Path | None, words: WordKind
) -> tuple[list[tuple[str, str]], list[GoldLinks] | None]:
    """Read both texts, and the gold links.

    Raises:
        DataError: A file cannot be read, numbers of lines differ, or a link names a word that is not there.
    """
    from mtkit.corpus.text_files import read_lines

    sources, targets = read_lines(source), read_lines(target)
    _check_count(source, len(sources), target, len(targets))
    pairs = list(zip(sources, targets, strict=True))
    if gold is None:
        return pairs, None
    from mtkit.inspection.links import read_gold_links
    from mtkit.inspection.words import split_words

    right = read_gold_links(gold)
    _check_count(source, len(sources), gold, len(right))
    for number, (pair, of_pair) in enumerate(zip(pairs, right, strict=True), 1):
        counts = [len(split_words(line, words)) for line in pair]
        for i, j in sorted(of_pair.possible):
            if i >= counts[0] or j >= counts[1]:
                other = "signs" if words == "spaces" else "spaces"
                raise DataError(
                    f"the link {i}-{j} is outside a pair of {counts[0]} and {counts[1]} words",
                    at=f"{gold}:{number}",
                    fix=f"links count words from 0; if they count words otherwise, --words {other}",
                )
    return pairs, right


def _warn_unspaced(pairs: Sequence[tuple[str, str]]) -> None:
    from mtkit.decoding.problems import warn_unspaced
    from mtkit.decoding.splitting import is_unspaced

    num_unspaced = sum(any(map(is_unspaced, pair)) for pair in pairs)
    warn_unspaced(num_unspaced, "--words signs links characters of such scripts")


def _check_count(one: Path, count: int, other: Path, other_count: int) -> None:
    if count != other_count:
        raise DataError(
            f"{one} has {count:,} lines, and {other} has {other_count:,}", at=other, fix="give files of as many lines"
        )


def _list_settings(loaded: LoadedModel) -> list[Setting]:
    from mtkit.inspection.pair_alignment import list_settings

    return list_settings(loaded.model.config.num_decoder_layers)


def _check(setting: Setting, loaded: LoadedModel) -> None:
    from mtkit.decoding.alignment import check_layer

    check_layer(setting.layer, loaded.model.config.num_decoder_layers)


def _check_direction(loaded: LoadedModel, other: LoadedModel) -> None:
    """Refuse a second model that is known to translate another way than back."""
    from mtkit.corpus.language_tags import is_same_direction, show_direction

    here, there = ((one.source_language, one.target_language) for one in (loaded, other))
    if not is_same_direction(there, here[::-1]):
        raise ModelError(
            f"it translates {show_direction(there)}, and {loaded.path} {show_direction(here)}",
            at=f"--reverse-model {other.path}",
            fix="give a model of the other direction, or the --reverse-tag of one that has both",
        )


def _name(setting: Setting) -> tuple[str, AlignmentStep]:
    return "mean of all" if setting.layer is None else str(setting.layer), setting.step


def _print_table(rows: Sequence[tuple[Setting, tuple[float | str, ...]]], columns: Sequence[str], best: int) -> None:
    """Print the settings and their values, the best first in a note: the one with the largest value of a column."""
    shown = [
        [*_name(setting), *(f"{value:.3f}" if isinstance(value, float) else value for value in values)]
        for setting, values in rows
    ]
    console.print_table(None, ["layer", "step", *columns], shown)
    if len(rows) > 1:
        setting, _ = max(rows, key=lambda row: row[1][best])
        flags = [] if setting.layer is None else [f"--set decoding.alignment_layer={setting.layer}"]
        if setting.step != "output":
            flags.append(f"--set decoding.alignment_step={setting.step}")
        how = " ".join(flags) or "the default"
        console.say(f"best {columns[best]}: layer {_name(setting)[0]}, step {setting.step}; {how}")


def _write(links: Iterable[Links], output: Path | None) -> None:
    """Write the links of each pair as they come."""
    from mtkit.decoding.output import open_output
    from mtkit.decoding.translation import format_links

    num_pairs = num_links = 0
    with open_output(output) as stream:
        try:
            for of_pair in links:
                stream.write_line(format_links(of_pair))
                num_pairs += 1
                num_links += len(of_pair)
        finally:
            stream.flush()  # what was found before an interruption, or the window with a line that is too long
    console.say(f"{console.count(num_pairs, 'pair')}, {console.count(num_links, 'link')}")
