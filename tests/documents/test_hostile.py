"""Documents made to take long: the work grows with the size, not with its square."""

import sys

import pytest

from mtkit.documents.html import read_html
from mtkit.documents.markdown import read_markdown
from mtkit.documents.paragraphs import read_paragraphs
from mtkit.documents.pipeline import translate_document
from mtkit.documents.subtitles import read_srt, read_vtt
from mtkit.documents.xliff import read_xliff

SRT = "1\n00:00:01,000 --> 00:00:02,000\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\n"
UNIT = """<xliff version="1.2"><file source-language="en" target-language="de"><body><trans-unit id="1">
<source>x</source><seg-source>"""
KINDS = {
    "emphasis": (read_markdown, "", "*x* "),
    "emphasis on lines": (read_markdown, "", "**x**\n"),
    "open code tags": (read_markdown, "", "<code>x"),
    "closing tags without opening ones": (read_markdown, "<u>", "x<i>y</b>"),
    "images": (read_markdown, "", "![a b](c) "),
    "references": (read_markdown, "[a]: b\n\n", "[a] "),
    "sentences on lines": (read_markdown, "", "Word one.\nAnother "),
    "sentences at hard breaks": (read_markdown, "", "Word one.  \nAnother.\\\n"),
    "escapes": (read_markdown, "", "a\\* "),
    "paragraphs": (read_markdown, "", "Word one.\n\n"),
    "code that is text too": (read_markdown, "", "`a` a "),
    "bold words": (read_html, "", "<b>x</b> "),
    "open tags": (read_html, "", "<b>x"),
    "line breaks": (read_html, "", "word<br>"),
    "raised open tags": (read_html, "", "<sup>1<a href=#n>"),
    "closing tags beyond a block": (read_html, "<b><div>", "<i>x</b>"),
    "rules in a paragraph": (read_html, "<p><div>", "<b>x<hr>"),
    "damaged references": (read_html, "", "a &# b <b>x</b> "),
    "entities": (read_html, "", "a&amp;\n"),
    "italic lines": (read_srt, SRT, "<i>x</i>\n"),
    "closing tags in a cue": (read_vtt, VTT + "<b>", "x<i>y</u>"),
    "sentences": (read_paragraphs, "", "Word one. Another "),
    "segments of a unit": (
        read_xliff,
        UNIT,
        '<mrk mtype="seg" mid="NUMBER">A word.</mrk> ',
        "</seg-source></trans-unit></body></file></xliff>",
    ),
    "placeholders": (read_paragraphs, "", "%s word "),
}


def count_calls(work):
    """Return the number of calls and of resumed generators that some work takes, of functions in C too."""
    count = 0

    def notice(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_work_grows_with_the_size(stand_in, kind, capsys):
    read, start, repeated, *end = KINDS[kind]

    def translate(times):
        pieces = (repeated.replace("NUMBER", str(number)) for number in range(times))
        content = "".join([start, *pieces, *end]).encode()
        return lambda: translate_document(read(content), stand_in(lambda request: f"{request.source} x"))

    translate(5)()  # what is done once
    small, large = count_calls(translate(30)), count_calls(translate(120))
    assert large < 5.5 * small
