"""From a recipe file, `--set` and flags to a validated `Recipe`, with all mistakes reported at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mtkit.config.recipe import Recipe
from mtkit.config.section import Section
from mtkit.config.yaml_io import Lines, dump_yaml, parse_scalar, read_yaml
from mtkit.errors import RecipeError, writing

# In the wheel, recipes and sample data lie inside the package; in a checkout, beside it.
_SHARE_FOLDERS = (Path(__file__).parents[1] / "share", Path(__file__).parents[2])


@dataclass(frozen=True)
class Override:
    """A value that a person gave on the command line: the recipe field, the value, and how it was given."""

    field: str
    value: Any
    given_as: str


def parse_set(text: str) -> Override:
    """Parse one `--set section.key=value`; the value is read as YAML.

    Raises:
        RecipeError: The text has no `=` or no field.
    """
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        raise RecipeError(f"cannot read '{text}'", at="--set", fix="write --set section.key=value")
    return Override(field.strip(), parse_scalar(value), f"--set {text}")


def find_recipe(name: str | Path) -> Path:
    """Return the path of a recipe: a file, or the name of one that comes with mtkit (`quickstart`).

    Raises:
        RecipeError: There is no such file and no such recipe.
    """
    path = Path(name)
    if path.is_file():
        return path
    bundled = {recipe.stem: recipe for recipe in iter_bundled_recipes()}
    if str(name) in bundled:
        return bundled[str(name)]
    near = difflib.get_close_matches(str(name), bundled, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "give a .yaml file, or one of " + ", ".join(sorted(bundled))
    raise RecipeError(f"no recipe '{name}'", at=name, fix=hint)


def iter_bundled_recipes() -> Iterator[Path]:
    """Yield the recipes that come with mtkit."""
    for folder in _SHARE_FOLDERS:
        recipes = sorted((folder / "recipes").glob("*.yaml"))
        if recipes:
            yield from recipes
            return


def is_beside_bundled(path: Path) -> bool:
    """Return whether a path leads into the folder of the recipes that come with mtkit, where no text is."""
    return any(path.is_relative_to(folder / "recipes") for folder in _SHARE_FOLDERS)


def load_recipe(path: str | Path | None, overrides: Sequence[Override] = ()) -> Recipe:
    """Return the recipe of a file with `overrides` laid over it; without a file, defaults with overrides.

    Paths inside the file are relative to it, those of overrides to the working directory.

    Raises:
        RecipeError: Anything is wrong; `also` holds the further problems.
    """
    raw: dict[str, Any] = {}
    lines: Lines = {}
    file = None
    if path is not None:
        file = find_recipe(path)
        raw, lines = read_yaml(file)
        raw = _resolve_paths(raw, Recipe, file.resolve().parent)
    given: dict[str, str] = {}
    problems: list[RecipeError] = []
    for override in overrides:
        try:
            _lay_over(raw, override)
        except RecipeError as exc:
            problems.append(exc)
        given[override.field] = override.given_as
    raw = _resolve_paths(raw, Recipe, Path.cwd())
    recipe = None
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as exc:
        problems += [_explain(error, file, lines, given) for error in exc.errors()]
    if problems:
        first, rest = problems[0], tuple(problems[1:])
        raise RecipeError(first.message, at=first.at, fix=first.fix, also=rest)
    assert recipe is not None
    return recipe


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe, every field named, so that `load_recipe` reads it back equal.

    Raises:
        OutputError: The file cannot be written.
    """
    with writing(path):
        path.write_text(dump_yaml(recipe.model_dump(mode="json")), encoding="utf-8")


def iter_fields(section: type[Section] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every field of a recipe as `section.key` with its default, help and bounds."""
    for name, info in section.model_fields.items():
        inner = _section_of(info.annotation)
        if inner is None:
            yield prefix + name, info
        else:
            index = "N." if _is_list(info.annotation) else ""
            yield from iter_fields(inner, f"{prefix}{name}.{index}")


def get_field(dotted: str) -> FieldInfo:
    """Return the definition of a recipe field by its dotted name, such as `training.max_steps`."""
    section: type[Section] = Recipe
    *outer, last = dotted.split(".")
    for name in outer:
        inner = _section_of(section.model_fields[name].annotation)
        assert inner is not None, dotted
        section = inner
    return section.model_fields[last]


def _lay_over(raw: dict[str, Any], override: Override) -> None:
    """Set one dotted field in the nested mapping, making the mappings and list items on the way."""
    outer, last = _split_field(override.field)
    place: Any = raw
    for name, empty in outer:
        if isinstance(place, list):
            _grow(place, name, override)
            if place[int(name)] is None:
                place[int(name)] = empty
            place = place[int(name)]
        elif isinstance(place, dict):
            if place.get(name) is None:
                place[name] = empty
            place = place[name]
        else:
            break
    if isinstance(place, list):
        _grow(place, last, override)
        place[int(last)] = override.value
    elif isinstance(place, dict):
        place[last] = override.value
    else:
        raise RecipeError(
            f"'{override.field}' does not name a field: '{name}' holds a value",
            at=override.given_as,
            fix="name the field as in `mtkit options`",
        )


def _split_field(dotted: str) -> tuple[list[tuple[str, Any]], str]:
    """Return the names on the way to a field, each with what is made there if nothing is, and the last name.

    What follows a field that maps names to values is one name, dots and digits included.
    """
    names = dotted.split(".")
    outer: list[tuple[str, Any]] = []
    section: type[Section] | None = Recipe
    for position, name in enumerate(names[:-1], start=1):
        if name.isdigit():
            info = None
        else:
            info = section.model_fields.get(name) if section is not None else None
            section = None if info is None else _section_of(info.annotation)
        if info is not None and _is_mapping(info.annotation):
            return [*outer, (name, {})], ".".join(names[position:])
        outer.append((name, [] if names[position].isdigit() else {}))
    return outer, names[-1]


def _grow(items: list[Any], name: str, override: Override) -> None:
    """Make room for an item right behind the last one."""
    if not name.isdigit() or int(name) > len(items):
        raise RecipeError(
            f"'{name}' in '{override.field}' is no index of a list of {len(items)}",
            at=override.given_as,
            fix=f"use 0 to {len(items)}; {len(items)} adds an item",
        )
    if int(name) == len(items):
        items.append(None)


def _resolve_paths(raw: Any, section: type[Section], base: Path) -> Any:
    """Make the relative paths inside a recipe's raw mapping absolute, and leave out sections that hold nothing."""
    if not isinstance(raw, Mapping):
        return raw
    resolved = dict(raw)
    for name, info in section.model_fields.items():
        value = resolved.get(name)
        inner = _section_of(info.annotation)
        if name in resolved and value is None and (info.annotation is inner or _is_list(info.annotation)):
            del resolved[name]  # a heading with nothing below it
        elif inner is not None and isinstance(value, list):
            resolved[name] = [_resolve_paths(item, inner, base) for item in value]
        elif inner is not None and name in resolved:
            resolved[name] = _resolve_paths(value, inner, base)
        elif isinstance(value, str) and Path in get_args(info.annotation):
            resolved[name] = str(base / Path(value).expanduser())
        elif info.json_schema_extra == {"may_be_path": True} and value is not None:
            many = value if isinstance(value, list) else [value]
            local = [str(base / item) if isinstance(item, str) and (base / item).exists() else item for item in many]
            resolved[name] = local if isinstance(value, list) else local[0]
    return resolved


def _section_of(annotation: Any) -> type[Section] | None:
    """Return the section class inside an annotation (`Section`, `Section | None`, `list[Section]`), if any."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list


def _is_mapping(annotation: Any) -> bool:
    return any(get_origin(candidate) is dict for candidate in (annotation, *get_args(annotation)))


def _explain(error: Any, file: Path | None, lines: Lines, given: Mapping[str, str]) -> RecipeError:
    """Turn one of pydantic's errors into ours: which key, where it stands, and what would be right."""
    loc = tuple(part for part in error["loc"] if not (isinstance(part, str) and "[" in part))
    dotted = ".".join(map(str, loc))
    at = _place(loc, file, lines, given)
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(loc[:-1])
        # A field of that very name in another section is likelier meant than one here that is spelt alike.
        elsewhere = [name for name, _ in iter_fields() if name.endswith(f".{loc[-1]}")]
        near = elsewhere or difflib.get_close_matches(str(loc[-1]), valid, n=1)
        fix = f"did you mean '{near[0]}'?" if near else "valid here: " + ", ".join(valid)
        return RecipeError(f"unknown recipe key '{dotted}'", at=at, fix=fix)
    if error["type"] == "value_error":
        return RecipeError(
            f"{dotted or 'recipe'}: {error['ctx']['error']}", at=at, fix="change one of the values named"
        )
    if error["type"] == "model_type":
        inner = ", ".join(_valid_keys(loc)[:3])
        fix = f"write fields below it: {inner}, …"
        return RecipeError(f"'{dotted}' is a section of fields, not {error['input']!r}", at=at, fix=fix)
    if error["type"] == "list_type":
        keys = ", ".join(f"{key}: …" for key in _valid_keys(loc)[:2])
        fix = f"write [{{{keys}}}]" if keys else "write it in brackets: [one, another]"
        return RecipeError(f"'{dotted}' is a list, not {error['input']!r}", at=at, fix=fix)
    message = error["msg"][0].lower() + error["msg"][1:]
    message = re.sub(r"^input should be ", "must be ", message)
    known = {name.replace(".N.", ".0."): info for name, info in iter_fields()}
    field = known.get(_as_first(loc)) or known.get(_as_first(loc[:-1]))
    meaning = f" ({field.description.rstrip(chr(46))})" if field is not None and field.description else ""
    help_text = f"give another value{meaning}"
    if error["type"] == "string_type":
        help_text = "put it in quotes"
    return RecipeError(f"'{dotted}' {message}, not {error['input']!r}", at=at, fix=help_text)


def _as_first(loc: tuple[Any, ...]) -> str:
    """Return a field's dotted name with every list index as 0."""
    return ".".join("0" if isinstance(part, int) else str(part) for part in loc)


def _place(loc: tuple[Any, ...], file: Path | None, lines: Lines, given: Mapping[str, str]) -> str | None:
    """Say where a field was given: by a flag, in a line of the recipe, or nowhere."""
    dotted = ".".join(map(str, loc))
    for field, how in given.items():
        if dotted == field or field.startswith(dotted + ".") or dotted.startswith(field + "."):
            return how
    while loc:
        if loc in lines:
            return f"{file}:{lines[loc]}"
        loc = loc[:-1]
    return None if file is None else str(file)


def _valid_keys(loc: tuple[Any, ...]) -> list[str]:
    """Return the keys that a mapping at this place of a recipe may have."""
    section: type[Section] = Recipe
    for part in loc:
        if isinstance(part, int):
            continue
        inner = _section_of(section.model_fields[part].annotation) if part in section.model_fields else None
        if inner is None:
            return []
        section = inner
    return list(section.model_fields)
