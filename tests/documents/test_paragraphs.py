import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtkit.documents.paragraphs import read_paragraphs

FILE = """\ufeffTITLE
=====

    This is the first line of a paragraph that was wrapped by hand, and it
goes on here. It has a second sentence, by Dr. Smith, which is longer than
the line.

> quoted text here is a long long line of many words in a mail that
> goes on. Really.

- a list item that is long enough to be wrapped by hand, as it is more
  than the width
- b

Dear Sir,
thank you.  Bye.
"""
FRAGMENTS = [
    "word ", "A sentence. ", "\n", "\n\n", "  ", "> ", "- ", "1. ", "\r\n",
    "This is a long line of text that goes on until", "===", "日本語。", "\t", "http://a.b", "a", "\n    ",
]  # fmt: skip


@pytest.fixture
def laws():
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("laws.py"))))


def test_shape_is_kept(laws):
    document = laws.check(read_paragraphs, FILE.encode())
    assert laws.read_texts(document)[:3] == [
        "TITLE",
        "This is the first line of a paragraph that was wrapped by hand, and it goes on here.",
        "It has a second sentence, by Dr. Smith, which is longer than the line.",
    ]
    assert laws.read_texts(document)[-3:] == ["Dear Sir,", "thank you.", "Bye."]
    assert laws.translate(document, str.upper) == FILE.upper()


def test_a_line_that_stands_further_in_starts_a_paragraph(laws):
    text = """This is the first line of a paragraph that was
wrapped by hand, and it goes on here with more
    and this line stands further in than the rest
"""
    segments = laws.read_texts(laws.check(read_paragraphs, text.encode()))
    assert segments[-1] == "and this line stands further in than the rest"


@pytest.mark.parametrize(("end", "space"), [("by", " "), ("本", "")])
def test_lines_are_joined_as_their_script_is_written(laws, end, space):
    first = f"This is the first line of a paragraph that was {end}"
    segments = laws.read_texts(laws.check(read_paragraphs, f"{first}\n日本語で書かれた\n".encode()))
    assert segments == [f"{first}{space}日本語で書かれた"]


def test_longer_text_is_wrapped_at_the_same_width(laws):
    changed = laws.translate(read_paragraphs(FILE.encode()), lambda part: part + " And some more words.")
    assert max(map(len, changed.split("\n"))) <= 76
    assert [line for line in changed.split("\n") if line.startswith(">")][1].startswith("> ")
    assert "\n  than the width" in changed or "\n  " in changed


def test_any_text(laws):
    for seed in range(150):
        text = laws.build_random(FRAGMENTS, seed)
        document = laws.check(read_paragraphs, text.encode())
        changed = laws.translate(document, str.swapcase)
        laws.check_outside(document, text, changed)
        assert "".join(changed.lower().replace(">", "").split()) == "".join(text.lower().replace(">", "").split())
