"""Where Markdown lies between tags of HTML that say that it is not to be translated."""

from __future__ import annotations

from collections.abc import Iterable

from mtkit.documents.html_tokens import Token, tokenize_html
from mtkit.documents.markdown_events import Run
from mtkit.documents.open_elements import OpenElements, says_no

# What a block of Markdown becomes; it ends a paragraph of HTML that lacks its end tag.
_PARAGRAPH = (Token("start", 0, 0, "p"), Token("end", 0, 0, "p"))


def find_refused(runs: Iterable[Run]) -> list[tuple[int, int]]:
    """Return the stretches inside elements that are not to be translated, in order; of those that end."""
    tokens = [
        (run.start, token) for run in runs for token in (tokenize_html(run.html) if run.kind == "Html" else _PARAGRAPH)
    ]
    for token in _find_unended(token for _, token in tokens):
        token.attributes.clear()
    opened = OpenElements()
    stretches: list[tuple[int, int]] = []
    start: int | None = None
    for place, token in tokens:
        _close(opened, token)
        if token.kind == "start":
            opened.push(token)
        if opened.is_refused and start is None:
            start = place + token.end
        elif start is not None and not opened.is_refused:
            stretches.append((start, place + token.start))
            start = None
    return stretches


def _find_unended(tokens: Iterable[Token]) -> list[Token]:
    """Return the start tags of the elements that are not to be translated and never end."""
    opened = OpenElements()
    refusing: list[tuple[int, Token]] = []  # with the depth of what each is in
    for token in tokens:
        _close(opened, token)
        while refusing and opened.depth <= refusing[-1][0]:
            refusing.pop()
        depth = opened.depth
        if token.kind == "start" and opened.push(token) and says_no(token):
            refusing.append((depth, token))
    return [token for _, token in refusing]


def _close(opened: OpenElements, token: Token) -> None:
    """Close what ends with an end tag, or by itself where an element starts."""
    if token.kind == "start":
        opened.close_implied(token.name)
    elif token.kind == "end":
        opened.close(token.name)
