"""What one line is to a translator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mtkit.corpus.repair import SEPARATORS
from mtkit.decoding.request import Request, to_request

# Lines are read ahead at most so far, in characters; how many lines that may be depends on the batch size.
WINDOW_CHARACTERS = 1 << 20

_LINE_BREAKS = re.compile("[\n" + "".join(SEPARATORS) + "]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = str.maketrans({"\0": " ", "\u2581": " "})  # U+2581 is SentencePiece's own space


def make_one_line(text: str) -> str:
    """Return a text with a space in place of each run of line breaks of any kind."""
    return _LINE_BREAKS.sub(" ", text)


def clean_source(line: str) -> str:
    """Return a line as the model reads it: no line breaks, NUL or lone surrogates, no white space around it.

    A NUL becomes a space, as in the training text, and so does SentencePiece's own space.
    """
    return make_one_line(_SURROGATES.sub("\ufffd", line).translate(_SPACES)).strip()


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
