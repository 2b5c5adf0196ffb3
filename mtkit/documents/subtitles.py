"""SubRip and WebVTT subtitles."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from mtkit.documents.cues import Cue, CueDocument
from mtkit.documents.document import Document
from mtkit.documents.html_tokens import escape_html, iter_html_slots
from mtkit.documents.slots import iter_text_slots
from mtkit.documents.text_file import decode_text
from mtkit.errors import DataError

# Matches an empty line at the end, too.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_SRT_TIME = r"(\d+):(\d{1,2}):(\d{1,2})[,.:](\d{1,3})"
_SRT_TIMING = re.compile(rf"[ \t\ufeff]*{_SRT_TIME}[ \t]*-->[ \t]*{_SRT_TIME}")
_SRT_NUMBER = re.compile(r"[ \t\ufeff]*\d+[ \t]*\Z")
_SRT_MARKUP = re.compile(r"<(?P<slash>/?)(?P<name>[a-zA-Z]+)\b[^<>\n\r]*>|\{\\?[a-zA-Z\\][^{}\n\r]*\}|\{/?[a-z]\}")
_VTT_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})\.(\d{1,3})"
_VTT_TIMING = re.compile(rf"[ \t]*{_VTT_TIME}[ \t]*-->[ \t]*{_VTT_TIME}")
# Ruby is one, as its reading fits no other text than its base.
_VTT_RUBY = re.compile(r"<ruby(?=[\s.>])[^<>\n\r]*>(?:(?!<ruby).)*?</ruby>", re.DOTALL)
_VTT_MARKUP = re.compile(
    rf"(?P<ruby>{_VTT_RUBY.pattern})"
    r"|<(?P<slash>/?)(?P<name>c|i|b|u|v|ruby|rt|lang)(?=[\s.>])[^<>\n\r]*>|<[^<>\n\r]*>",
    re.DOTALL,
)


def read_srt(content: bytes, language: str | None = None, max_width: int | None = None) -> Document:
    """Read SubRip subtitles.

    A segment is a sentence; one that runs through several cues is translated as a whole and shared out. Tags are
    protected stretches; numbers, times, dashes of speakers and tags around a whole cue are left as they are.

    Args:
        content: The file, in UTF-8 or with a byte order mark.
        language: Of the text, for the ends of sentences.
        max_width: Longest line in characters; the longest of the file, but at least 42, if None.

    Raises:
        DataError: The bytes are not UTF-8, or there is text but no cue.
        RecipeError: sentencex is not installed.
    """
    text, encoding = decode_text(content)
    cues = _find_srt_cues(text)
    if not cues and text.strip("\ufeff \t\r\n"):
        raise DataError("no cue found", fix="a SubRip cue has a line such as 00:00:01,000 --> 00:00:02,500")
    return CueDocument(
        text, encoding, cues, iter_text_slots, lambda text: text, _SRT_MARKUP, max_width=max_width, language=language
    )


def read_vtt(content: bytes, language: str | None = None, max_width: int | None = None) -> Document:
    """Read WebVTT subtitles.

    As `read_srt`; NOTE, STYLE and REGION blocks, identifiers and settings of cues are left as they are too.

    Args:
        content: The file, in UTF-8.
        language: Of the text, for the ends of sentences.
        max_width: Longest line in characters; the longest of the file, but at least 42, if None.

    Raises:
        DataError: The bytes are not UTF-8, or the file does not start with WEBVTT.
        RecipeError: sentencex is not installed.
    """
    text, encoding = decode_text(content)
    if text.strip("\ufeff \t\r\n") and not re.match(r"\ufeff?WEBVTT(?=[ \t\r\n]|\Z)", text):
        raise DataError("the first line is not WEBVTT", at="line 1", fix="is it SubRip? That is --format srt")
    return CueDocument(
        text,
        encoding,
        _find_vtt_cues(text),
        iter_html_slots,
        escape_html,
        _VTT_MARKUP,
        max_width=max_width,
        language=language,
    )


def _find_srt_cues(text: str) -> list[Cue]:
    """Return the cues; text after an empty line in a cue counts as a cue of the same time."""
    cues: list[Cue] = []
    times: tuple[float, float] | None = None
    lines: list[tuple[int, int]] = []

    def end_group() -> None:
        if lines and times is not None:
            cues.append(Cue(*times, tuple(lines)))
        lines.clear()

    is_after_number = False
    for match in _LINE.finditer(text):
        line = match[0].rstrip("\r\n")
        timing = _SRT_TIMING.match(line)
        if timing:
            if is_after_number:
                lines.pop()
            end_group()
            times = (_read_seconds(*timing.groups()[:4]), _read_seconds(*timing.groups()[4:]))
            cues.append(Cue(*times, ()))
        elif not line.strip():
            end_group()
        else:
            lines.append((match.start(), match.start() + len(line.rstrip())))
        is_after_number = timing is None and _SRT_NUMBER.match(line) is not None
    return cues


def _find_vtt_cues(text: str) -> list[Cue]:
    """Return the cues: the lines after a timing line, up to one without even a blank, or another timing line."""
    cues: list[Cue] = []
    times: tuple[float, float] | None = None
    lines: list[tuple[int, int]] = []

    def end_cue() -> None:
        if lines and times is not None:
            cues.append(Cue(*times, tuple(_join_ruby(text, lines))))
        lines.clear()

    block_line = 0
    for match in _LINE.finditer(text):
        line = match[0].rstrip("\r\n")
        block_line = block_line + 1 if line.strip() else 0
        timing = _VTT_TIMING.match(line)
        if timing and (block_line <= 2 or times is not None):
            if lines and block_line == 2:
                lines.pop()  # an identifier behind a line of blanks
            end_cue()
            first, last = timing.groups()[:4], timing.groups()[4:]
            times = (_read_seconds(first[0] or "0", *first[1:]), _read_seconds(last[0] or "0", *last[1:]))
        elif not line:
            end_cue()
            times = None
        elif times is not None and line.strip() and "-->" not in line:
            lines.append((match.start(), match.start() + len(line.rstrip())))
    return cues


def _join_ruby(text: str, lines: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the places of a cue's lines, those through which ruby runs as one."""
    starts = [start for start, _ in lines]
    inside: set[int] = set()
    for ruby in _VTT_RUBY.finditer(text, starts[0], lines[-1][1]):
        inside.update(starts[bisect_right(starts, ruby.start()) : bisect_left(starts, ruby.end())])
    first = [index for index, start in enumerate(starts) if start not in inside]
    for index, following in pairwise([*first, len(lines)]):
        yield starts[index], lines[following - 1][1]


def _read_seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    """Return a time in seconds."""
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction) / float(10 ** len(fraction))
