"""What the commands share: options whose default and help come from the recipe's fields, and how they are collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mtkit.config.loading import Override, get_field, load_recipe, parse_set
from mtkit.config.recipe import Recipe
from mtkit.runtime import console


def recipe_option(field: str, *names: str, help: str | None = None) -> Any:
    """Return a typer option for a recipe field; help and default are the field's own.

    The option itself defaults to None, "not given", so that a value in a recipe is overridden only by one that a
    person typed.
    """
    info = get_field(field)
    default = info.get_default()
    text = help or (info.description or "").rstrip(".")
    shown = f" [default: {default}]" if default is not None and "efault" not in text else ""
    return typer.Option(*names, help=text + shown, show_default=False)


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
    int | None, typer.Option("--threads", min=1, help="CPU threads. [default: all cores]", show_default=False)
]


def gather(
    recipe: str | Path | None, set_values: Sequence[str] | None, flags: Mapping[str, tuple[str, Any]] = {}
) -> Recipe:
    """Return the recipe of a command: its file, then `--set`, then the flags that were given.

    Args:
        recipe: A recipe file or the name of a bundled one; None for defaults.
        set_values: The texts of `--set`.
        flags: Recipe field to (flag as typed, value); values of None were not given.

    Raises:
        RecipeError: Anything is wrong; all mistakes are reported at once.
    """
    overrides = [parse_set(text) for text in set_values or []]
    overrides += [
        Override(field, str(value) if isinstance(value, Path) else value, f"{name} {value}")
        for field, (name, value) in flags.items()
        if value is not None
    ]
    return load_recipe(recipe, overrides)
