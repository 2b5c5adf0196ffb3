"""Characters that break a line, or a program: found, counted and replaced, so that a line stays one line."""

from __future__ import annotations

from collections import Counter

# What `str.splitlines` and many editors break lines at. Here only a line feed ends a line.
SEPARATORS = {
    "\r": "carriage return",
    "\x0b": "vertical tab",
    "\x0c": "form feed",
    "\x1c": "file separator",
    "\x1d": "group separator",
    "\x1e": "record separator",
    "\x85": "next line (U+0085)",
    "\u2028": "line separator (U+2028)",
    "\u2029": "paragraph separator (U+2029)",
}
# SentencePiece stops at the first of these, takes the second for a space, and has no piece for the others.
UNSPELLABLE = {
    "\0": "NUL",
    "\u2581": "SentencePiece's own space (U+2581)",
    "\u2585": "SentencePiece's own mark (U+2585)",
    "\x1f": "unit separator",
}
_REPLACED = {**SEPARATORS, **UNSPELLABLE}
CRLF = "CRLF line end"
LINE_FEED = "line break inside a field"


def repair_lines(lines: list[str], counts: Counter[str]) -> list[str]:
    """Return lines without characters that break them.

    A carriage return at the end of a line is removed; anything else becomes a space.

    Args:
        lines: Lines or field values.
        counts: Is added to: how many of each were replaced.
    """
    text = "\n".join(lines)
    if text.count("\n") != len(lines) - 1 and lines:
        inside = [line.replace("\n", " ") for line in lines]
        counts[LINE_FEED] += text.count("\n") - (len(lines) - 1)
        return repair_lines(inside, counts)
    if not any(character in text for character in _REPLACED):
        return lines
    text += "\n"
    if ends := text.count("\r\n"):
        counts[CRLF] += ends
        text = text.replace("\r\n", "\n")
    for character, name in _REPLACED.items():
        if found := text.count(character):
            counts[name] += found
            text = text.replace(character, " ")
    return text[:-1].split("\n")
