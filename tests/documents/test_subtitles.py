import html
import runpy
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import pytest

from mtkit.documents.pipeline import translate_document
from mtkit.documents.subtitles import read_srt, read_vtt
from mtkit.errors import DataError

SRT = """1
00:00:01,000 --> 00:00:02,500
{\\an8}<i>I think that we should</i>
<i>go to the old</i>

2
00:00:03,000 --> 00:00:04,000
- Hello, Dr. Smith.
- Hi.

3
00:00:10,000 --> 00:00:11,000
We never thought that it

4
00:00:11,000 --> 00:00:12,000
would end. Never,
they say.
"""
VTT = """WEBVTT - title

NOTE
A note

STYLE
::cue { color: red }

id 1
00:01.000 --> 00:02.000 align:start
<v Mary>Hello &amp; <c.loud>good</c> day</v>

00:03.000 --> 00:04.000
<00:03.200>Karaoke <00:03.500>time
"""
FRAGMENTS = [
    "1\n", "00:00:01.000 --> 00:00:02.000\n", "\n", "- ", "Hello ", "there. ", "and so", "<i>", "</i>", "{\\an8}",
    "♪", "\r\n", "日本語", "<c.x>", "</c>", "<v Bob>", "http://a.b", "&amp;", "<", "NOTE x\n",
    "<ruby>", "<rt>", "</rt>", "</ruby>",
]  # fmt: skip


def _sort(text):
    """Characters but blanks; a bare `<` of WebVTT is escaped where its segment is written."""
    return sorted("".join(html.unescape(text.lower()).split()))


@pytest.fixture
def laws():
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("laws.py"))))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_srt(newline, laws):
    content = SRT.replace("\n", newline)
    document = laws.check(read_srt, ("\ufeff" + content).encode())
    assert laws.read_texts(document) == [
        "I think that we should go to the old", "Hello, Dr. Smith.", "Hi.", "We never thought that it would end.",
        "Never, they say.",
    ]  # fmt: skip
    changed = laws.translate(document, str.upper)
    assert "{\\an8}<i>I THINK THAT WE SHOULD GO TO THE OLD</i>" in changed
    assert newline.join(["- HELLO, DR. SMITH.", "- HI.", ""]) in changed
    assert newline.join(["WE NEVER THOUGHT THAT IT", "", "4"]) in changed
    assert changed.endswith("WOULD END. NEVER, THEY SAY." + newline)


def test_vtt(laws):
    document = laws.check(read_vtt, VTT.encode())
    changed = laws.translate(document, lambda part: part.upper().replace("DAY", "D<Y"))
    expected = VTT.replace("Hello", "HELLO").replace("good", "GOOD").replace(" day", " D&lt;Y")
    assert changed == expected.replace("Karaoke", "KARAOKE").replace("time\n", "TIME\n")


@pytest.mark.parametrize(
    ("end", "start", "is_one"),
    [
        ("00:59:59,9", "01:00:00,100", True),
        ("00:00:59,900", "00:01:00,000", True),
        ("00:59:59,900", "01:00:01,000", False),
    ],
)
def test_a_sentence_goes_on_in_a_cue_that_follows_within_a_second(laws, end, start, is_one):
    text = f"00:00:01,000 --> {end}\nWe thought that it\n\n{start} --> 02:00:00,000\nwould end.\n"
    assert len(laws.check(read_srt, text.encode()).segments) == 2 - is_one


@pytest.mark.parametrize(
    ("read", "head", "number"), [(read_srt, "", ""), (read_srt, "1\n", "2\n"), (read_vtt, "WEBVTT\n\n", "")]
)
def test_cues_need_neither_numbers_nor_empty_lines(laws, read, head, number):
    text = f"{head}00:00:01.000 --> 00:00:02.000\nThe big\ndog\n{number}00:00:05.000 --> 00:00:06.000\nsleeps."
    assert laws.read_texts(laws.check(read, text.encode())) == ["The big dog", "sleeps."]


def test_a_time_in_a_note_is_none(laws):
    text = "WEBVTT\n\nNOTE\nas in\n00:01.000 --> 00:02.000\nThe dog\n"
    assert not laws.check(read_vtt, text.encode()).segments


def test_a_damaged_time_is_no_text(laws):
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nThe dog\n00:x --> 00:04.000\n"
    assert laws.read_texts(laws.check(read_vtt, text.encode())) == ["The dog"]


@pytest.mark.parametrize("blank", [" ", "\t ", "\xa0"])
def test_only_an_empty_line_ends_a_cue_of_vtt(laws, blank):
    text = f"WEBVTT\n\n00:01.000 --> 00:02.000\n{blank}\nThe dog\n{blank}\nsleeps.\n\nNot this\n"
    document = laws.check(read_vtt, text.encode())
    assert laws.read_texts(document) == ["The dog sleeps."]
    assert laws.translate(document, str.upper) == text.replace(f"The dog\n{blank}\nsleeps.", "THE DOG SLEEPS.")


def test_blanks_between_cues_of_vtt_keep_their_identifiers(laws):
    text = "WEBVTT\n \nid 1\n00:01.000 --> 00:02.000\nThe dog.\n \nid 2\n00:03.000 --> 00:04.000\nThe cat\nid.\n"
    document = laws.check(read_vtt, text.encode())
    assert laws.translate(document, str.upper) == text.replace("The dog.", "THE DOG.").replace(
        "The cat\nid", "THE CAT ID"
    )


@pytest.mark.parametrize("ruby", ["<ruby>kan<rt>ji</rt></ruby>", "<ruby.a>k<rt>j</rt>a<rt.b>i</rt><i>n</i><rt></ruby>"])
def test_ruby_keeps_its_reading(laws, stand_in, ruby):
    text = f"WEBVTT\n\n00:01.000 --> 00:02.000\nThe {ruby} dog\nsleeps <ruby>on.\n"
    document = laws.check(read_vtt, text.encode())
    assert [part.shown for part in document.segments[0].protected] == ["kan", ""]
    translator = stand_in(lambda request: " ".join(reversed(request.source.split())))
    assert ruby in translate_document(document, translator).content.decode()
    long = text.replace("The", "The " * 15).replace("sleeps", "sleeps " * 4)
    widest = read_vtt(long.encode()).max_width
    assert widest == read_vtt(long.replace(ruby, "kan").encode()).max_width


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ruby", ["<ruby>a\nb<rt>no\n- no</rt></ruby>", "<ruby>a\n \nb<rt>no<rt\n></ruby>"])
def test_ruby_over_lines_keeps_its_reading(laws, ruby, newline):
    text = f"WEBVTT\n\n00:01.000 --> 00:02.000\nThe {ruby} dog\n{ruby} sleeps.\n- Then <ruby>one\nwakes up.\n"
    text, ruby = text.replace("\n", newline), ruby.replace("\n", newline)
    document = laws.check(read_vtt, text.encode())
    assert [part.shown for part in document.segments[0].protected] == ["a b", "a b"]
    changed = laws.translate(document, str.upper).split(newline, 3)[-1]
    assert changed == f"THE {ruby} DOG {ruby} SLEEPS.{newline}- THEN <ruby>ONE WAKES UP.{newline}"
    wide = text.replace("The ", "The " * 9).replace(" dog", " dog" * 9)
    assert read_vtt(wide.encode()).max_width == 42


@pytest.mark.parametrize(("read", "mark"), [(read_vtt, "<"), (read_vtt, "<c "), (read_srt, "<a "), (read_srt, "{\\a")])
def test_marks_without_an_end_take_no_time(laws, read, mark):
    head = "WEBVTT\n\n00:01.000 --> 00:02.000\n" if read is read_vtt else "1\n00:00:01,000 --> 00:00:02,000\n"
    start = process_time()
    laws.check(read, f"{head}A {mark * 50_000}".encode())
    assert process_time() - start < 5


def test_lines_fit_and_are_balanced():
    document = read_srt(b"1\n00:00:01,000 --> 00:00:02,000\nHi.\n", max_width=20)
    lines = document.render([("one two three four five six seven",)]).decode().split("\n")[2:-1]
    assert lines == ["one two three four", "five six seven"]
    assert document.segments[0].max_width == 20
    lines = document.render([("これは日本語の長い字幕ですからここで改行します。",)]).decode().split("\n")[2:-1]
    assert len(lines) == 2 and max(map(len, lines)) <= 20


@pytest.mark.parametrize("read", [read_srt, read_vtt])
def test_any_subtitles(read, laws, stand_in):
    for seed in range(150):
        head = "WEBVTT\n\n" if read is read_vtt else "1\n00:00:01,000 --> 00:00:02,000\n"
        text = head + laws.build_random(FRAGMENTS, seed)
        document = laws.check(read, text.encode())
        assert translate_document(document, stand_in()).content.decode() == text
        changed = laws.translate(document, str.swapcase)
        # Sentences may be shared out anew among cues, so that words change places with what stands between.
        assert _sort(changed) == _sort(text)


def test_what_cannot_be_read(laws):
    for read, content in [
        (read_srt, b"Hello"),
        (read_vtt, b"1\n00:01.000 --> 00:02.000\nHi"),
        (read_srt, b"\xff\xfdx"),
    ]:
        with pytest.raises(DataError):
            read(content)
    laws.check(read_srt, b"")
    laws.check(read_vtt, b"")


def test_text_that_looks_like_a_tag_stays_text(stand_in):
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nOpen &lt;file&gt; now.\n"
    translated = translate_document(
        read_vtt(text.encode()), stand_in(lambda request: request.source.replace("now", "jetzt"))
    )
    assert translated.content.decode() == text.replace("now", "jetzt")
