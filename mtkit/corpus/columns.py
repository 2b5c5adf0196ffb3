"""Which columns of a table hold the source and the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtkit.corpus.language_tags import Languages
from mtkit.errors import DataError

Columns = tuple[str, str]


def find_columns(
    available: Sequence[str], columns: Columns | None, languages: Languages, at: str | Path, hint: str = ""
) -> Columns:
    """Return the names of the source and target columns.

    Given ones are taken as they are. Otherwise they are found by the languages (`en`, else `translation.en`), else they
    are `source` and `target`.

    Args:
        available: The names that the table has, nested ones with dots.
        columns: What the recipe says.
        languages: Source and target language.
        at: What to name as the place of an error.
        hint: What else to say where the columns cannot be told.

    Raises:
        DataError: The table lacks the columns.
    """
    shown = ", ".join(available) or "none"
    if columns:
        if lacking := [name for name in columns if name not in available]:
            raise DataError(f"no column '{lacking[0]}'", at=at, fix=f"there are: {shown}")
        return columns
    source, target = languages
    candidates = [("source", "target")]
    if source and target:
        candidates = [(source, target), (f"translation.{source}", f"translation.{target}"), *candidates]
    for candidate in candidates:
        if all(name in available for name in candidate):
            return candidate
    raise DataError(
        "cannot tell which columns hold source and target",
        at=at,
        fix=f"set corpus.train.0.columns (or corpus.valid.columns …) to two of: {shown}{hint}",
    )


def iter_leaves(row: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of the values in a nested mapping: `translation.en`."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from iter_leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def get_leaf(row: Mapping[str, Any], name: str) -> Any:
    """Return a nested value by its dotted name.

    Raises:
        KeyError: There is none.
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(name)
        value = value[part]
    return value
