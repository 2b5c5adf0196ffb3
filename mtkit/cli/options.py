"""What the commands share: options whose default and help come from the recipe's fields, and how they are collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mtkit.config.loading import Override, get_field, load_recipe, parse_set
from mtkit.config.recipe import Recipe
from mtkit.errors import RecipeError
from mtkit.runtime import console
from mtkit.runtime.device import DeviceName

# The heading in a command's help of what is seldom needed.
MORE_OPTIONS = "More options"


def recipe_option(
    field: str, *names: str, help: str | None = None, panel: str | None = None, show_default: bool = True
) -> Any:
    """Return a typer option for a recipe field; help and default are the field's own.

    `panel` puts it under a heading of its own in the command's help; without `show_default` the default is not told.

    The option itself defaults to None, "not given", so that a value in a recipe is overridden only by one that a
    person typed.
    """
    info = get_field(field)
    default = info.get_default()
    text = help or (info.description or "").rstrip(".")
    is_shown = show_default and default is not None and default is not False and "efault" not in text
    shown = f" [default: {default}]" if is_shown else ""
    return typer.Option(*names, help=text + shown, show_default=False, rich_help_panel=panel)


def _apply_quiet(value: bool) -> bool:
    if value:
        console.set_quiet(True)
    return value


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Set any recipe field, as often as you like; `mtkit options` lists them."
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_apply_quiet, help="Print only results, warnings and errors.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what stands at the output, if mtkit made it.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="CPU threads. [default: all cores that the process may use]", show_default=False
    ),
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write. [default: standard output]")]
# For the commands that load a model.
ModelsOption = Annotated[
    list[Path],
    typer.Option(
        "--model",
        "-m",
        help="Run or model folder; given several times, an ensemble of models with one vocabulary.",
        show_default=False,
    ),
]
TagOption = Annotated[str | None, recipe_option("decoding.tag", "--tag")]
LengthPenaltyOption = Annotated[float | None, recipe_option("decoding.length_penalty", "--length-penalty")]
DeviceOption = Annotated[
    DeviceName,
    typer.Option("--device", help="Where to compute; auto takes a GPU if there is one.", rich_help_panel=MORE_OPTIONS),
]
PrecisionOption = Annotated[
    Literal["fp32", "bf16", "int8", "auto"] | None,
    recipe_option("decoding.precision", "--precision", panel=MORE_OPTIONS),
]
DecodingRecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Take the decoding section of this recipe.", rich_help_panel=MORE_OPTIONS),
]


def gather(
    recipe: str | Path | None,
    set_values: Sequence[str] | None,
    flags: Mapping[str, tuple[str, Any]] = {},
    texts: Sequence[Override] = (),
) -> Recipe:
    """Return the recipe of a command: its file, then texts, then `--set`, then the flags that were given.

    Args:
        recipe: A recipe file or the name of a bundled one; None for defaults.
        set_values: The texts of `--set`.
        flags: Recipe field to (flag as typed, value); values of None were not given.
        texts: What stands in place of the recipe's texts, from `replace_texts`.

    Raises:
        RecipeError: Anything is wrong; all mistakes are reported at once.
    """
    overrides = [*texts, *(parse_set(text) for text in set_values or [])]
    overrides += [
        Override(field, str(value) if isinstance(value, Path) else value, _show_flag(name, value))
        for field, (name, value) in flags.items()
        if value is not None
    ]
    return load_recipe(recipe, overrides)


def replace_texts(
    source: Sequence[Path] | None,
    target: Sequence[Path] | None,
    valid: tuple[Path | None, Path | None] = (None, None),
    test: tuple[Path | None, Path | None] = (None, None),
) -> list[Override]:
    """Return the overrides that put files in place of a recipe's training, validation and test text.

    Args:
        source: Files of `--source`.
        target: Files of `--target`, as many.
        valid: Files of `--valid-source` and `--valid-target`.
        test: Files of `--test-source` and `--test-target`.
    """
    overrides = []
    if source or target:
        pairs = [_pair(*files) for files in zip_longest(source or [], target or [])]
        given_as = [_show_flag("--source", list(source or [])), _show_flag("--target", list(target or []))]
        overrides.append(Override("corpus.train", pairs, " ".join(given_as).strip()))
    for split, files in (("valid", valid), ("test", test)):
        if any(files):
            flags = (f"--{split}-source", f"--{split}-target")
            given_as = [f"{flag} {file}" for flag, file in zip(flags, files, strict=True) if file]
            overrides.append(Override(f"corpus.{split}", _pair(*files), " ".join(given_as)))
    return overrides


def _pair(source: Path | None, target: Path | None) -> dict[str, str]:
    return {side: str(path) for side, path in (("source", source), ("target", target)) if path is not None}


def _show_flag(name: str, value: Any) -> str:
    """Return a flag as a person typed it."""
    return (
        name
        if value is True
        else " ".join(f"{name} {item}" for item in (value if isinstance(value, list) else [value]))
    )


def refuse_options(given: Mapping[str, bool], problem: str, fix: str) -> None:
    """Refuse options that have no effect here, such as those of documents for lines.

    Args:
        given: By option, whether it was given.
        problem: Why an option does not fit, said behind its name.
        fix: What else to do than leave it out.

    Raises:
        RecipeError: One was.
    """
    wrong = next((option for option, is_given in given.items() if is_given), None)
    if wrong is not None:
        raise RecipeError(
            f"{wrong} {problem}",
            at=wrong,
            fix=f"leave it out, or {fix}",
        )
