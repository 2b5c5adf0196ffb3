"""The command `mtkit options`: every recipe field, as the recipe's own definitions describe it."""

from __future__ import annotations

import difflib
import json
import shutil
import sys
import textwrap
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from mtkit.config.loading import iter_fields
from mtkit.errors import RecipeError

_TYPE_NAMES = {int: "integer", float: "number", str: "text", bool: "true | false", Path: "path"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def options(
    section: Annotated[
        str | None, typer.Argument(help="Only this part of a recipe, such as `training` or `corpus.filters`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every field of a recipe, with type, bounds, default and meaning.

    A field is set in a recipe file, or with `--set FIELD=VALUE` on the commands that have it. N stands for an index
    from 0.

    Example: `mtkit options training`
    """
    rows = [_describe(name, info) for name, info in _select(section)]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))  # noqa: T201
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        default = _show_default(row["default"])
        print("  ".join([row["field"], row["type"], *([f"[default: {default}]"] if default else [])]))  # noqa: T201
        print(_indent(row["help"], width))  # noqa: T201


def _indent(text: str, width: int | None) -> str:
    """Return a text as lines that begin with four spaces, folded to a terminal's width if there is one."""
    lines = [text] if width is None else textwrap.wrap(text, max(20, width - 4))
    return textwrap.indent("\n".join(lines), "    ")


def _select(section: str | None) -> list[tuple[str, FieldInfo]]:
    fields = list(iter_fields())
    if section is None:
        return fields
    chosen = [(name, info) for name, info in fields if name == section or name.startswith(section + ".")]
    if not chosen:
        names = [name for name, _ in fields]
        sections = sorted({name.rpartition(".")[0] for name in names} - {""})
        near = difflib.get_close_matches(section, [*sections, *names], n=1)
        fix = f"did you mean '{near[0]}'?" if near else "choose from " + ", ".join(sections)
        raise RecipeError(f"no section or field '{section}'", fix=fix)
    return chosen


def _describe(name: str, info: FieldInfo) -> dict[str, Any]:
    return {
        "field": name,
        "type": _name_bounded(info.annotation, info),
        "default": info.get_default(call_default_factory=True),
        "help": info.description or "",
    }


def _name_bounded(annotation: Any, info: FieldInfo) -> str:
    """Return a type with the bounds of a field: `integer >= 0`."""
    bounds = [
        f"{sign} {getattr(rule, key)}" for rule in info.metadata for key, sign in _BOUNDS.items() if hasattr(rule, key)
    ]
    return " ".join([_name_type(annotation), ", ".join(bounds)]).strip()


def _name_type(annotation: Any) -> str:
    """Return a field's type in a person's words: `integer`, `adam | adamw`, `list of text`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(_name_type(argument) for argument in arguments if argument is not type(None))
    if origin is Annotated:
        return _name_bounded(*arguments)
    if origin is dict:
        return f"mapping of {_name_type(arguments[0])} to {_name_type(arguments[1])}"
    if origin is list or (origin is tuple and arguments[1:] == (...,)):
        return f"list of {_name_type(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)}: {', '.join(map(_name_type, arguments))}"
    return _TYPE_NAMES[annotation]


def _show_default(value: Any) -> str:
    """Return a default as it would stand in a recipe; nothing for a value that is absent."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
