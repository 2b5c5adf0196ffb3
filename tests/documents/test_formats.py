import re
from pathlib import Path
from typing import get_args

import pytest

from mtkit.documents.formats import DocumentFormat, find_document_format, read_document
from mtkit.documents.options import DocumentOptions
from mtkit.errors import DataError

SMALLEST = {
    "po": 'msgid "a"\nmsgstr ""\n',
    "xliff": '<xliff version="1.2"><file><body><trans-unit><source>a</source></trans-unit></body></file></xliff>',
    "html": "<p>a</p>",
    "markdown": "a\n",
    "srt": "1\n00:00:01,000 --> 00:00:02,000\na\n",
    "vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\na\n",
    "text": "a\n",
}


@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_each_format_has_its_reader(name):
    assert [segment.text for segment in read_document(SMALLEST[name].encode(), name).segments] == ["a"]


@pytest.mark.parametrize("name", ["html", "markdown", "srt", "vtt", "text"])
@pytest.mark.parametrize(("language", "count"), [("de", 1), ("en", 2)])
def test_sentences_end_by_the_rules_of_the_language(name, language, count):
    content = re.sub(r"(?<!\w)a(?!\w)", "Er kommt am 5. Mai nach Hause.", SMALLEST[name])
    assert len(read_document(content.encode(), name, "a", DocumentOptions(source_language=language)).segments) == count


def test_no_format_is_forgotten():
    assert set(get_args(DocumentFormat)) == {*SMALLEST, "tmx"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.PO", "po"),
        ("a.pot", "po"),
        ("a.xlf", "xliff"),
        ("a.sdlxliff", "xliff"),
        ("a.mqxliff", "xliff"),
        ("a.htm", "html"),
        ("a.md", "markdown"),
        ("a.txt", None),
    ],
)
def test_suffixes_tell_the_format(name, expected):
    assert find_document_format(Path(name)) == expected


@pytest.mark.parametrize(
    ("name", "content", "at"), [("srt", b"x", "a"), ("vtt", b"x", "a:1"), ("text", b"a\n\xff", "a:2")]
)
def test_damage_is_told_with_the_name_of_the_file(name, content, at):
    with pytest.raises(DataError) as caught:
        read_document(content, name, "a")
    assert caught.value.at == at
