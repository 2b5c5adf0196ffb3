import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtkit.documents.markdown import read_markdown
from mtkit.documents.pipeline import translate_document

FILE = """---
title: Not this
---
# Head *em* {#id}

Some **\\*x** &amp; <b>y</b> `c` [l](u "t") ![al](s) a[^1] https://x.y [Foo] [Bar][] <kbd>Ctrl</kbd> <http://a.b>.

> q1
> q2 soft
> hard

- [ ] task
  1. nested

| a | b |
|--|--|
| x\\|y | z |

```py
code = "Not this"
```

    indented

<p align="center">Html <img alt="good"></p>

[Foo]: http://x
[Bar]: http://y
[^1]: foot $x$ ~~gone~~
"""
FRAGMENTS = [
    "# ", "text ", "Word. ", "*", "**", "_", "`", "```", "[", "](http://x)", "![", "\n", "\n\n", "\r\n", "> ", "- ",
    "1. ", "  ", "    ", "|", "\n|-|-|\n", "<b>", "</b>", "<", ">", "&amp;", "&", "\\", "\\*", "~~", "$", "[^1]",
    "[^1]: ", "---\n", "===\n", "<div>", "</div>\n", "<!-- c -->", "https://a.b ", "[Foo]", "[]", "[Foo]: http://x\n",
    "[ ] ", "é日", "{#id}", '<img alt="a cat">', "<abbr title=one>",
    "<ruby>", "<rt>", "</ruby>", "<picture>", "</picture>", "> <div>\n> ", "<img\n", '> alt="a cat"', "> </div>\n",
    "<sup>", "</sup>", "1", ":::", "{% a %}", "\n",
]  # fmt: skip


@pytest.fixture
def laws():
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("laws.py"))))


def test_file_keeps_all_but_its_text(laws):
    document = laws.check(read_markdown, FILE.encode())
    changed = laws.translate(document, str.swapcase)
    laws.check_outside(document, FILE, changed)
    for text in (
        "# hEAD *EM* {#id}",
        '**\\*X** & <b>Y</b> `c` [L](u "t") ![AL](s) A[^1] https://x.y [fOO][Foo] [bAR][Bar]',
        "<kbd>Ctrl</kbd> <http://a.b>.",
        "- [ ] TASK\n  1. NESTED",
        "| X\\|Y | Z |",
        "FOOT $x$ ~~GONE~~",
        'hTML <img alt="GOOD"></p>',
        'code = "Not this"',
        "title: Not this",
        "    indented",
        "[Foo]: http://x",
    ):
        assert text in changed, text


def test_any_markdown(laws):
    for seed in range(200):
        text = laws.build_random(FRAGMENTS, seed)
        document = laws.check(read_markdown, text.encode())
        laws.check_outside(document, text, laws.translate(document, lambda part: f"{part}*_ [x"))


def test_translation_does_not_become_markup(laws):
    text = "# A\n\nBe *c* d.\n\n- E\n\n| f |\n|---|\n| g |\n"
    document = read_markdown(text.encode())
    assert len(document.blocks) == 5
    odd = "# 1. *a_ [x](y) <b> &amp; `` ~~q~~ | - "
    changed = laws.translate(document, lambda part: odd + part)
    again = read_markdown(changed.encode())
    texts = ["".join(unit.segment.text for unit in block.units) for block in again.blocks]
    assert [text.count("<b>") for text in texts] == [1, 3, 1, 1, 1]


def test_what_would_change_stays_and_is_told():
    document = read_markdown(b"Un*believ*able.\n\nYes.\n")
    parts = document.segments[0].parts
    broken = (parts[0], parts[1], "(x)", *parts[3:])
    rendered = document.render([broken, ("Ja.",)]).decode()
    assert rendered == "Un*believ*able.\n\nJa.\n"
    assert document.unwritten == [0]


def test_list_marks_start_no_line(laws):
    text = "This paragraph is wrapped by hand at sixty characters or so,\nas one can see.\n"
    document = read_markdown(text.encode())
    changed = laws.translate(document, lambda part: "word - 1. # " * 12 + "end")
    assert changed.count("\n") > 2
    assert len(read_markdown(changed.encode()).blocks) == 1
    assert " ".join(laws.read_texts(read_markdown(changed.encode()))).startswith("word - 1. # word")


SHAPES = [
    "[`a b`][] and [c d][]\n\nText\n\n[`a b`]: x\n[c d]: y\n",  # a run that ends with a collapsed reference
    "See &lt;file&gt; and \\\\n of it.\nAnd so on.\n",  # text that looks like a tag, when it is read
    "Of `> ` too: `a` is a of it.\n",
    "# Name [![a](b)](c) [![d](e)](f)\n",
    "Some {{ names }} and $name of it.\nNext line.\n",
]


def test_what_is_left_for_its_structure_is_counted(stand_in):
    content = b'A ` b <img alt="a cat"> c.\n'
    change = stand_in(lambda request: request.source.replace("a cat", "a ` cat"))
    translated = translate_document(read_markdown(content), change)
    assert translated.content == content
    assert translated.unwritten == ("line 1",)
    assert "Markdown" in translated.unwritten_because
    summary = translated.summary
    assert (summary.num_segments, summary.num_filled, summary.num_failed) == (2, 1, 1)
    assert translated.left == ()


@pytest.mark.parametrize("mark", ["  \n", "\\\n"])
def test_a_blank_after_a_hard_break_means_nothing(mark):
    document = read_markdown(f"Go on.{mark}now it is. More of it.\n".encode())
    first, _ = document.segments
    rendered = document.render([("Weiter.", *first.protected), ("Mehr.",)]).decode()
    assert rendered.startswith(f"Weiter.{mark}") and rendered.endswith("Mehr.\n")
    assert not document.unwritten


@pytest.mark.parametrize("mark", ["  \n", "\\\n", "   \r\n"])
@pytest.mark.parametrize(
    ("first", "second", "more"),
    [
        ("The dog sleeps.", "The cat sleeps.", ""),
        ("The dog\nsleeps.", "The cat sleeps.", " And so on."),
        ("犬。", "猫。", ""),
        ("> The dog sleeps.", "> The cat\n> sleeps.", ""),
    ],
)
def test_a_sentence_ends_at_a_hard_break(laws, mark, first, second, more):
    text = f"{first}{mark}{second}{more}\n"
    document = laws.check(read_markdown, text.encode())
    assert len(document.segments) == 2 + bool(more)
    changed = laws.translate(document, lambda part: f"Ah {part}")
    assert " ".join(changed.split()).count("Ah") == 2 + bool(more)
    assert f"{mark}{'> ' if '>' in first else ''}Ah " in changed
    assert not document.unwritten


@pytest.mark.parametrize("text", SHAPES)
def test_a_copy_by_a_model_is_equal(stand_in, text):
    translated = translate_document(
        read_markdown(text.encode()), stand_in(lambda request: " ".join(request.source.split()))
    )
    assert translated.content.decode() == text
    assert translated.summary.left == translated.summary.num_failed == 0


def test_collapsed_references_at_the_end_cost_no_other_block(stand_in):
    text = SHAPES[0]
    translated = translate_document(read_markdown(text.encode()), stand_in(lambda request: request.source.upper()))
    assert "TEXT" in translated.content.decode()
    assert not translated.unwritten


def test_text_that_looks_like_a_tag_stays_text(stand_in):
    translated = translate_document(
        read_markdown(b"Open &lt;file&gt; now.\n"), stand_in(lambda request: request.source.replace("now", "jetzt"))
    )
    assert translated.content.decode() == "Open \\<file> jetzt.\n"


@pytest.mark.parametrize("mark", ["[]", ""])
def test_a_reference_that_is_all_of_its_block_keeps_its_address(stand_in, mark):
    text = f"- [some name]{mark}\n\n[some name]: x\n"
    translated = translate_document(read_markdown(text.encode()), stand_in(lambda request: request.source.upper()))
    assert translated.content.decode() == "- [SOME NAME][some name]\n\n[some name]: x\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (":::tip\n", "\n:::"),
        ("::: warning A *title*\r\n\r\n", "\r\n\r\n:::"),
        ('> !!! note "A title"\n>     ', ""),
        ("{% tabs %}\n", "\n{% endtabs %}"),
        ("", "\n{: .note }"),
        ("- {{< note >}}\n  ", "\n  {{< /note >}}"),
    ],
)
def test_lines_that_are_only_a_mark_stay_lines(laws, before, after):
    text = f"{before}The dog sees the cat.{after}\n"
    document = laws.check(read_markdown, text.encode())
    assert laws.read_texts(document) == ["The dog sees the cat."]
    assert laws.translate(document, str.upper) == text.replace("The dog sees the cat.", "THE DOG SEES THE CAT.")
    assert not document.unwritten


def test_raised_numbers_are_no_words(stand_in):
    text = "A girl<sup>2</sup> has *a bike*.<sup>[1](#n1)</sup> Two dogs.\n"
    translator = stand_in(lambda request: request.source.replace("girl", "Girl"))
    content = translate_document(read_markdown(text.encode()), translator).content.decode()
    assert content == text.replace("girl", "Girl")
    assert [request.source for request in translator.requests] == ["A girl has a bike.", "Two dogs."]


def test_emphasis_inside_emphasis_keeps_its_blanks(laws):
    changed = laws.translate(read_markdown(b"**bold _nested_ text**, more.\n"), str.upper)
    assert changed == "**BOLD _NESTED_ TEXT**, MORE.\n"


def test_attributes_that_people_read_are_translated(laws):
    text = (
        'A <img alt="a cat" src=a title=tip> *and* [an <abbr title=\'it is "so"\' class="title">X</abbr>](u).\n\n'
        '| a <img alt="b"> |\n|---|\n\n'
        '<span translate=no title="no">x</span> <i class="a notranslate" title="no">y</i> <img translate=no alt="no">\n'
        '<code title="to it">z</code> <picture><source srcset=x><img alt="a dog"></picture> end\n'
    )
    document = laws.check(read_markdown, text.encode())
    changed = laws.translate(document, lambda part: f"{part} |`".upper())
    laws.check_outside(document, text, changed)
    assert '<img alt="A CAT |`" src=a title="TIP |`">' in changed
    assert """<abbr title='IT IS "SO" |`' class="title">""" in changed
    assert '<img alt="B &#124;`">' in changed
    assert '<code title="TO IT |`">z</code>' in changed
    assert '<picture><source srcset=x><img alt="A DOG |`"></picture>' in changed
    assert any(part.text.startswith("<picture>") for part in document.segments[-3].protected if part.pair is None)
    assert changed.count('"no"') == 3 and ">y</i>" in changed


def test_an_attribute_stays_html_where_all_marks_are_escaped():
    document = read_markdown(b'# A <img alt="a cat" src=x> b\n')
    image = document.segments[0].protected[0]
    rendered = document.render([("A ", image, " {#b}"), ('"x" *y*',)]).decode()
    assert rendered == '# A <img alt="&quot;x&quot; *y*" src=x> \\{\\#b\\}\n'


def test_an_attribute_that_would_hide_text_is_left():
    text = 'A ` b <img alt="a cat"> c.\n'
    document = read_markdown(text.encode())
    assert document.render([None, ("a ` cat",)]).decode() == text
    assert document.unwritten == [1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A ![*b* cat](x) here.\n", "A ![*B* CAT](x) HERE.\n"),
        ("![a **big\ncat**\\!](x)\n", "![A **BIG CAT**\\!](x)\n"),
        ('> A ![b\n> cat](x "no") here.\n', '> A ![B CAT](x "no") HERE.\n'),
        ("| ![a *b* \\| c][r] |\n|---|\n\n[r]: x\n", "| ![A *B* \\| C][r] |\n|---|\n\n[r]: x\n"),
        ("[![a _b\nc_ `d`](y)](z)\n", "[![A _B C_ `d`](y)](z)\n"),
        ("![" * 1000 + "a" + "](x)" * 1000 + " b\n", "![" * 1000 + "a" + "](x)" * 1000 + " B\n"),
        ("![*a*\nb][] ![*a* b]\n\n[*a* b]: x\n", "![*a*\nb][] ![*a* b]\n\n[*a* b]: x\n"),
    ],
)
def test_descriptions_of_images_have_marks_and_lines(laws, text, expected):
    document = laws.check(read_markdown, text.encode())
    assert laws.translate(document, str.upper) == expected


@pytest.mark.parametrize("tag", ['<div translate="no">', "<section class='a notranslate'>"])
def test_markdown_between_tags_that_say_no_is_left(laws, tag):
    name = "section" if "section" in tag else "div"
    left = f"{tag}\n\n# No\n\nno ![no](x) <b title=no>\n\n- no\n\n<p title=no>no</p>\n\nno\n\n"
    text = f"A dog\n\n{left}</{name}>\n<p>A cat</p>\n\n<{name}>\n\nyes\n"
    changed = laws.translate(laws.check(read_markdown, text.encode()), str.upper)
    assert changed == f"A DOG\n\n{left}</{name}>\n<p>A CAT</p>\n\n<{name}>\n\nYES\n"
    inner = f"{left}<div translate=yes>\n\nyes\n\n</div>\n\nno\n\n</{name}>\n\nyes\n"
    assert laws.read_texts(laws.check(read_markdown, inner.encode())) == ["yes", "yes"]


@pytest.mark.parametrize(
    "start",
    [
        "<div translate=no>",
        "<p translate=no>no",
        "<br translate=no>",
        "<svg translate=no />",
        "<div>\n<i translate=no>no",
    ],
)
def test_a_tag_without_an_end_leaves_no_markdown(laws, start):
    document = laws.check(read_markdown, f"{start}\n\nyes\n\n- yes\n".encode())
    assert laws.read_texts(document) == ["yes", "yes"]


@pytest.mark.parametrize("start", ["<div translate=no>", "<section translate=no>"])
@pytest.mark.parametrize("inner", ["<div translate=no>\n\nno\n\n</div>", "<ul>\n<li translate=no>no\n<li>yes</ul>"])
def test_a_tag_without_an_end_spoils_none_that_has_one(laws, start, inner):
    document = laws.check(read_markdown, f"{start}\n\nyes\n\n{inner}\n\nyes\n".encode())
    assert set(laws.read_texts(document)) == {"yes"}
    assert len(document.segments) == 2 + inner.count("yes")


@pytest.mark.parametrize("end", [">", "> ", ">  ", "> \t ", ""])
def test_what_ends_html_in_a_quote_is_no_text(laws, end):
    text = f"> <div title=a>\n> A <b>dog</b\n> > here.\n{end}\n> A man.\n\nA cat.\n"
    document = laws.check(read_markdown, text.encode())
    changed = laws.translate(document, str.upper)
    assert changed == text.replace("A <b>dog", "A <b>DOG").replace("here", "HERE").replace("man", "MAN").replace(
        "cat", "CAT"
    ).replace("=a", '="A"')


def test_ruby_keeps_its_reading(stand_in):
    text = "The <ruby>kan<rt>ji</rt></ruby> dog.\n"
    document = read_markdown(text.encode())
    assert [part.shown for part in document.segments[0].protected] == ["kan"]
    translated = translate_document(document, stand_in(lambda request: request.source.replace("dog", "Hund")))
    assert translated.content.decode() == text.replace("dog", "Hund")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["> ", "> > ", ">", "- > ", "1. > - "])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('A <img\nalt="a cat"\n src=x> here.', 'A <img\nalt="A CAT"\n src=x> HERE.'),
        ('A <img alt="a\ncat"> here.', 'A <img alt="A CAT"> HERE.'),
        ('A <span\ntitle="a cat">b</span> dog.', 'A <span\ntitle="A CAT">B</span> DOG.'),
        ('A <picture\nx><img\nalt="b"></picture> dog.', 'A <picture\nx><img\nalt="B"></picture> DOG.'),
        ('<div\ntitle="a">\nA <b>dog</b>\n</div>', '<div\ntitle="A">\nA <b>DOG</b>\n</div>'),
    ],
)
def test_html_over_lines_of_a_quote(laws, mark, newline, text, expected):
    rest = mark if mark.strip(" >") == "" else " " * len(mark.split(">")[0]) + "> "
    rest += "  " if mark.endswith("- ") else ""

    def quote(lines):
        return mark + (newline + rest).join(lines.split("\n")) + newline

    document = laws.check(read_markdown, quote(text).encode())
    changed = laws.translate(document, str.upper)
    assert changed == quote(expected)


def test_html_in_a_quote_is_wrapped_within_the_quote(laws):
    text = "> <p>\n> The first line is about this long, is it not,\n> and the second too.\n> </p>\n\nText\n"
    document = laws.check(read_markdown, text.encode())
    changed = laws.translate(document, lambda part: f"{part} With more words for a third line.")
    lines = changed.split("\n")
    assert all(line.startswith("> ") and len(line) <= 55 for line in lines[:-3]), lines
    assert len(lines) > 7
