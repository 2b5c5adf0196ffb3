"""YAML without its traps: `5e-4` is a number, `no` is Norwegian, a key stands once, and every value knows its line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mtkit.errors import RecipeError

Lines = dict[tuple[str | int, ...], int]

# The scalars of YAML 1.2's core schema. PyYAML's own rules are those of YAML 1.1, in which `no` is False, `1:30` is
# ninety and `5e-4` is text.
_SCALARS = (
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9][0-9_]*$", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"^[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$",
        list("-+.0123456789"),
    ),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _class in (_Loader, _Dumper):
    for _tag, _pattern, _first in _SCALARS:
        _class.add_implicit_resolver(_tag, re.compile(_pattern), _first)

_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(str(node.value).replace("_", "")))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(str(node.value).replace("_", "")))


def parse_scalar(text: str) -> Any:
    """Return the value that `text` has in YAML: a number, a truth value, a list, or itself."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """Read a YAML file that holds a mapping.

    Returns:
        The mapping, and the 1-based line of every key and list item by its path: `("training", "seed")`.

    Raises:
        RecipeError: The file is missing, is not YAML, holds no mapping, or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise RecipeError("the recipe is not UTF-8 text", at=path, fix="save it as UTF-8 YAML") from exc
    except OSError as exc:
        raise RecipeError(f"cannot read the recipe: {exc.strerror}", at=path, fix="check the path") from exc
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        raise RecipeError(f"not valid YAML: {exc.problem}", at=f"{path}:{line}", fix="correct the line") from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise RecipeError(f"not valid YAML: {exc}", at=path, fix="correct the file") from exc
    if not isinstance(value, dict):
        raise RecipeError("a recipe is a mapping of sections", at=path, fix="start it with a section such as `corpus:`")
    lines: Lines = {}
    if node is not None:
        _collect_lines(node, (), lines, path)
    return value, lines


def _collect_lines(node: yaml.Node, at: tuple[str | int, ...], lines: Lines, path: Path) -> None:
    """Record the line of each key and item below `node`, and refuse keys that stand twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, str(key.value))
            line = key.start_mark.line + 1
            if place in lines:
                raise RecipeError(
                    f"the key '{'.'.join(map(str, place))}' stands twice",
                    at=f"{path}:{line}",
                    fix=f"remove one (the other is in line {lines[place]})",
                )
            lines[place] = line
            _collect_lines(value, place, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            _collect_lines(value, (*at, index), lines, path)


def dump_yaml(value: dict[str, Any]) -> str:
    """Return `value` as YAML that `read_yaml` reads back equal."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
