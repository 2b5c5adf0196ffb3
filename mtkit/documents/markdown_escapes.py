"""Plain text as Markdown."""

from __future__ import annotations

import re

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# Marks that may mean something wherever they stand.
_SPECIAL = re.compile(
    r"\\(?=[!-/:-@\[-`{-~]|\s|\Z)"
    r"|[`\[\]~]"
    r"|(?<!\s)\*|\*(?!\s)|\A\*|\*\Z"
    r"|(?<![^\W_])_|_(?![^\W_])"
    r"|<(?=[A-Za-z/!?])"
    r"|&(?=#?\w+;)"
    r"|\$(?=\S)|(?<=\S)\$"
    r"|!\Z"
)
# What starts a block at the start of a line.
_BLOCK_START = re.compile(r"\A(?:[-+*](?=\s|\Z)|#{1,6}(?=\s|\Z)|>|=+\s*\Z|-+\s*\Z|[-=:|]|\d{1,9}(?=[.)](?:\s|\Z)))")
_NO_LINE_START = re.compile(r"(?:[-+*]|#{1,6}|\d{1,9}[.)])\Z|[>=|<:]|-{2,}|~{3}|`{3}")


def escape_markdown(text: str, is_start: bool, is_cell: bool = False) -> str:
    """Return text with a backslash before the marks that are likely to change the structure.

    Args:
        text: Plain text.
        is_start: Whether it starts a block.
        is_cell: Whether it stands in a table.
    """
    escaped = _SPECIAL.sub(lambda match: "\\" + match[0], text)
    if is_cell:
        escaped = escaped.replace("|", "\\|")
    if is_start and (match := _BLOCK_START.match(escaped)):
        number = len(match[0]) if match[0][0].isdigit() else 0
        escaped = f"{escaped[:number]}\\{escaped[number:]}"
    return escaped


def escape_all(text: str, is_start: bool) -> str:
    """Return text with a backslash before every mark."""
    return _PUNCTUATION.sub(r"\\\1", text)


def may_start_line(word: str) -> bool:
    """Return whether a word at the start of a further line of a paragraph leaves it one."""
    return _NO_LINE_START.match(word) is None
