"""How a line of the input says what its translation is held to: as values of JSON, or as cells of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtkit.decoding.request import Request

# Beside `source`, what a JSON object or a table's header may name.
WISH_COLUMNS = ("prefix", "constraints", "forbidden", "tag")

# In a table's cells: between phrases, and between phrases of which one is required.
PHRASE_SEPARATOR = ";"
CHOICE_SEPARATOR = " | "


class MalformedError(ValueError):
    """What a line holds is not of the kind it should be."""


def parse_object(value: Mapping[str, Any]) -> Request:
    """Return what a JSON object asks for.

    `{"source": "…", "prefix": "…", "constraints": ["a", ["b", "c"]], "forbidden": ["d"], "tag": "<2de>"}`: all but the
    source may be absent or null; a list in `constraints` holds phrases of which one must appear.

    Raises:
        MalformedError: A value has another type, or a phrase is empty.
    """
    source = value.get("source")
    if not isinstance(source, str):
        raise MalformedError("the object has no text under 'source'")
    return Request(
        source,
        tag=_read_text(value, "tag"),
        prefix=_read_text(value, "prefix"),
        required=tuple(_read_group(item) for item in _read_list(value, "constraints")),
        forbidden=tuple(_read_phrase(item, "forbidden") for item in _read_list(value, "forbidden")),
    )


def parse_cells(cells: Mapping[str, str]) -> Request:
    """Return what a row of a table asks for.

    In `constraints` and `forbidden`, `;` stands between phrases; in `constraints`, ` | ` (as in a glossary) between
    phrases of which one must appear: `Hund; Katze | Kater`. An empty cell wishes nothing.
    """
    groups = [_split(group, CHOICE_SEPARATOR) for group in cells.get("constraints", "").split(PHRASE_SEPARATOR)]
    return Request(
        cells["source"],
        tag=cells.get("tag", "").strip() or None,
        prefix=cells.get("prefix", "").strip() or None,
        required=tuple(group for group in groups if group),
        forbidden=_split(cells.get("forbidden", ""), PHRASE_SEPARATOR),
    )


def _split(cell: str, separator: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in cell.split(separator) if phrase.strip())


def _read_text(value: Mapping[str, Any], key: str) -> str | None:
    text = value.get(key)
    if text is not None and not isinstance(text, str):
        raise MalformedError(f"what stands under '{key}' is no text")
    return text


def _read_list(value: Mapping[str, Any], key: str) -> list[Any]:
    items = value.get(key)
    if items is not None and not isinstance(items, list):
        raise MalformedError(f"what stands under '{key}' is no list of phrases")
    return items or []


def _read_group(item: Any) -> tuple[str, ...]:
    phrases = item if isinstance(item, list) else [item]
    if not phrases:
        raise MalformedError("a list in 'constraints' is empty")
    return tuple(_read_phrase(phrase, "constraints") for phrase in phrases)


def _read_phrase(phrase: Any, key: str) -> str:
    if not isinstance(phrase, str) or not phrase.strip():
        raise MalformedError(f"a phrase in '{key}' is {'empty' if isinstance(phrase, str) else 'no text'}")
    return phrase
