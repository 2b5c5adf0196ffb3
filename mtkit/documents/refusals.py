"""Where Markdown lies between tags of HTML that say that it is not to be translated."""

from __future__ import annotations

from collections.abc import Iterable

from mtkit.documents.html_tokens import Token, tokenize_html
from mtkit.documents.markdown_events import Run
from mtkit.documents.open_elements import OpenElements

# What a block of Markdown becomes; it ends a paragraph of HTML that lacks its end tag.
_PARAGRAPH = (Token("start", 0, 0, "p"), Token("end", 0, 0, "p"))


def find_refused(runs: Iterable[Run]) -> list[tuple[int, int]]:
    """Return the stretches inside elements that are not to be translated, in order; of those that end."""
    opened = OpenElements()
    stretches: list[tuple[int, int]] = []
    start: int | None = None
    for run in runs:
        for token in tokenize_html(run.html) if run.kind == "Html" else _PARAGRAPH:
            if token.kind == "start":
                opened.close_implied(token.name)
                opened.push(token)
            elif token.kind == "end":
                opened.close(token.name)
            if opened.is_refused and start is None:
                start = run.start + token.end
            elif start is not None and not opened.is_refused:
                stretches.append((start, run.start + token.start))
                start = None
    return stretches
