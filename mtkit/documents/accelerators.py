"""Access keys of menus and buttons: `_File`, `&File`, `~File`."""

from __future__ import annotations

import re


def take_accelerator(text: str, mark: str | None) -> tuple[str, str | None]:
    """Return a text without the mark of its access key, and the key; the text and None if it has none.

    Args:
        text: Of a message.
        mark: The character before the key; None for none. Doubled, it stands for itself.
    """
    if not mark or "://" in text:
        return text, None
    marks = [m for m in re.finditer(rf"{re.escape(mark)}+", text) if len(m[0]) % 2]
    marks = [m for m in marks if re.match(r"\w(?!\w*;)" if mark == "&" else r"[^\W_]", text[m.end() :])]
    if len(marks) != 1:
        return text, None
    place = marks[0].end() - 1
    return text[:place] + text[place + 1 :], text[place + 1]


def put_accelerator(text: str, mark: str, key: str) -> str:
    """Return a text with an access key: the given one where a word begins with it, else in a word, else the first.

    Args:
        text: Of a translation, or of a stretch of it.
        mark: The character before the key.
        key: That of the source.
    """
    escaped = re.escape(key)
    patterns = (rf"(?<!\w){escaped}", escaped, r"(?<!\w)[^\W_]")
    for pattern in patterns:
        if match := re.search(pattern, text, re.IGNORECASE):
            return text[: match.start()] + mark + text[match.start() :]
    return text
