"""Characters that nobody sees: soft hyphens, zero-width spaces and joiners, byte order marks, direction marks."""

from __future__ import annotations

import re

# Unicode's Default_Ignorable_Code_Point, which its caseless matching (NFKC_Casefold) leaves out too.
_RANGES = (
    *("\u00ad", "\u034f", "\u061c", "\u115f-\u1160", "\u17b4-\u17b5", "\u180b-\u180f", "\u200b-\u200f"),
    *("\u202a-\u202e", "\u2060-\u206f", "\u3164", "\ufe00-\ufe0f", "\ufeff", "\uffa0", "\ufff0-\ufff8"),
    *("\U0001bca0-\U0001bca3", "\U0001d173-\U0001d17a", "\U000e0000-\U000e0fff"),
)
_SPANS = [(ord(span[0]), ord(span[-1])) for span in _RANGES]
_INVISIBLE = re.compile(f"[{''.join(_RANGES)}]+")
# Those and white space, in the Basic Multilingual Plane.
_BLANK = "".join(
    [
        *(chr(code) for code in range(0x3001) if chr(code).isspace()),
        *(chr(code) for low, high in _SPANS for code in range(low, min(high, 0xFFFF) + 1)),
    ]
)


def remove_invisible(text: str) -> str:
    """Return a text without the characters that nobody sees."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def is_blank(line: str) -> bool:
    """Return whether there is nothing to see in a line."""
    return not line.strip(_BLANK)
