"""What one line is to a translator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mtkit.corpus.invisible import is_blank
from mtkit.corpus.repair import SEPARATORS, UNSPELLABLE
from mtkit.decoding.request import Request, to_request

# Lines are read ahead at most so far, in characters; how many lines that may be depends on the batch size.
WINDOW_CHARACTERS = 1 << 20

_LINE_BREAKS = re.compile("[\n" + "".join(SEPARATORS) + "]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = str.maketrans(dict.fromkeys(UNSPELLABLE, " "))


def make_one_line(text: str) -> str:
    """Return a text with a space in place of each run of line breaks of any kind."""
    return _LINE_BREAKS.sub(" ", text)


def clean_source(line: str) -> str:
    """Return a line as the model reads it: no line breaks, NUL or lone surrogates, no white space around it.

    A NUL becomes a space, as in the training text, and so does what SentencePiece cannot spell. A line in which there
    is nothing to see is empty.
    """
    cleaned = make_one_line(_SURROGATES.sub("\ufffd", line).translate(_SPACES)).strip()
    return "" if is_blank(cleaned) else cleaned


def iter_windows(lines: Iterable[str | Request], max_lines: int) -> Iterator[list[Request]]:
    """Yield lines in lists of at most `max_lines` and, but for the last line, less than `WINDOW_CHARACTERS`."""
    window: list[Request] = []
    size = 0
    for request in map(to_request, lines):
        window.append(request)
        size += len(request.source)
        if len(window) == max_lines or size >= WINDOW_CHARACTERS:
            yield window
            window, size = [], 0
    if window:
        yield window
