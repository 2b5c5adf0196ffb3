"""Marks of footnotes in HTML, raised numbers and Word's fillers: no words of the sentence that they stand in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mtkit.documents.document import Protected
from mtkit.documents.slots import Slot

# Raised text, and what Word writes at the end of a paragraph, mostly around a no-break space.
_MARK = re.compile(r"<(?:sup|o:p)[\s>]", re.IGNORECASE)
# An address on the page itself.
_LINK = re.compile(r"""<a\s[^>]*?\bhref\s*=\s*["']?#""", re.IGNORECASE)
# What stands before a link that is a mark; after anything else, its number is read: `see page <a href="#p5">5</a>`.
_BEFORE_MARK = re.compile(r"[^\s(\[{]\Z")


def join_footnote_marks(text: str, slots: Sequence[Slot], with_links: bool = True) -> list[Slot]:
    """Return slots in which a `<sup>` or `<o:p>` without letters, or such a link to a note, is one that no reader sees.

    Args:
        text: The document's.
        slots: A run of its slots.
        with_links: Whether links count too.
    """
    joined: list[Slot] = []
    # Of pairs that may be marks, where they start in what is joined.
    opened: dict[int | None, int] = {}
    seen = ""  # last
    for slot in slots:
        if any(map(str.isalpha, slot.seen)):
            opened.clear()
        joined.append(slot)
        seen = slot.seen or seen
        if not isinstance(slot.part, Protected):
            continue
        if slot.part.kind == "open":
            is_link = with_links and _BEFORE_MARK.search(seen) and _LINK.match(slot.part.text)
            if is_link or _MARK.match(slot.part.text):
                opened[slot.part.pair] = len(joined) - 1
        elif slot.part.kind == "close" and slot.part.pair in opened:
            first = opened.pop(slot.part.pair)
            start = joined[first].start
            joined[first:] = [Slot(Protected(text[start : slot.end]), start, slot.end)]
    return joined
