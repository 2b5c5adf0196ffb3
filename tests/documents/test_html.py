import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtkit.documents.html import read_html
from mtkit.documents.html_tokens import tokenize_html
from mtkit.documents.pipeline import translate_document
from mtkit.errors import DataError

PAGE = """<!DOCTYPE html>\r
<html lang="en"><head><meta charset=utf-8><title>A &amp; B</title><meta name="description" content='It&#39;s "it"'>
<style>p { color: red }</style></head>
<body class=x><p>Hello <b>big &lt;world&gt;</b>. How are
  you, <a href="http://x.y/?a=1&b=2" title="A tip">my friend</a>? <code>x = 1</code> is
<span translate="no">Mtkit</span>'s.<p>Two<br>lines <img alt="A cat" src=c.png> here
<pre>keep
this</pre><ul><li>One<li translate=no>Two<li>Three &nbsp; four</ul>
<div translate="no"><p title="no">Nope</p> <p translate="yes">Yes</p></div>
<button disabled title=go>Go!</button><script>var x = "<p>Hi</p>";</script><!-- a note --><textarea>No</textarea>
<p>Unclosed <b>bold <i>x</b> y</i> end </x>
</body>"""
FRAGMENTS = [
    "<p>", "</p>", "<b>", "</b>", "<i ", ">", "<", "&", "&amp;", "&nbsp;", "&#x41;", "&copy", "word ", "A sentence. ",
    "\n", "\r\n", "<!--", "-->", '<div translate="no">', "</div>", "<span translate=no>", "</span>", "<code>",
    "</code>", "<pre>", "</pre>", "<script>", "</script>", '<img alt="a cat" src=x>', "<br>", "<li>", "<ul>", "</ul>",
    "<td>", "<table>", " title='Hi \"you\"'", '"', '<a href="x" title="Tip it">', "</a>", "<![CDATA[", "]]>", "<![",
    "<?php ?>", "</", "é", "日本語。", "https://a.b/c ", "<svg>", "</svg>", "<title>", "</title>", "<textarea>",
    "<ruby>", "<rt>", "</ruby>", "<picture>", "</picture>", "<my-tag title=yes>", "</my-tag>",
    "<sup>", "</sup>", "1", "<a href=#n>",
]  # fmt: skip


@pytest.fixture
def laws():
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("laws.py"))))


def test_page_keeps_all_but_its_text(laws):
    document = laws.check(read_html, PAGE.encode())
    texts = laws.read_texts(document)
    assert texts[:3] == ["A & B", 'It\'s "it"', "Hello <b>big <world></b>."]
    for text in ("A tip", "A cat", "One", "Yes", "go", "Go!"):
        assert text in texts
    changed = laws.translate(document, str.upper)
    laws.check_outside(document, PAGE, changed)
    assert "HELLO <b>BIG &lt;WORLD&gt;</b>. HOW ARE" in changed
    assert '<a href="http://x.y/?a=1&b=2" title="A TIP">MY FRIEND</a>?' in changed
    assert "content='IT&#39;S \"IT\"'" in changed
    assert '<button disabled title="GO">GO!</button>' in changed
    for kept in (
        "<pre>keep\nthis</pre>",
        '"<p>Hi</p>"',
        "<code>x = 1</code>",
        "Mtkit",
        'title="no">Nope',
        "<li translate=no>Two<",
    ):
        assert kept in changed
    assert "THREE &nbsp; FOUR" in changed


def test_any_html(laws):
    for seed in range(300):
        text = laws.build_random(FRAGMENTS, seed)
        document = laws.check(read_html, text.encode())
        laws.check_outside(document, text, laws.translate(document, lambda part: f"{part}<p>&amp;"))


def test_no_text_is_lost_where_yes_stands_in_no(laws):
    fragments = [
        '<b translate="yes">', "</b>", '<p translate="yes">', "</p>", '<picture translate="yes">', "</picture>",
        "<span class=notranslate>", "</span>", '<div translate="no">', "</div>", "<i>", "</i>", "<!-- -->", "A dog ",
        "sleeps. ", "It ",
    ]  # fmt: skip
    for seed in range(500):
        text = '<div translate="no">' + laws.build_random(fragments, seed, most=20)
        changed = laws.translate(laws.check(read_html, text.encode()), str.upper)
        assert changed.upper().split() == text.upper().split()


@pytest.mark.parametrize(
    "start",
    ["<?xml version='1.0'?><html>", '\ufeff<?xml version="1.0"?>', '<html xmlns="http://www.w3.org/1999/xhtml">'],
)
def test_a_tag_may_end_its_element_in_xhtml_only(laws, start):
    empty = ["audio", "iframe", "textarea", "script", "code", "div translate='no'", "i class='notranslate'", "p", "b"]
    for tag in empty:
        text = f"<p>A dog.</p><{tag} id='x'/><p>A <b>cat</b>.</p>"
        document = laws.check(read_html, f"{start}{text}".encode())
        assert laws.read_texts(document) == ["A dog.", "A <b>cat</b>."]
        assert laws.translate(document, str.upper).endswith("<p>A <b>CAT</b>.</p>")
    assert laws.read_texts(laws.check(read_html, b"<p>A dog.</p><audio/><p>A cat.</p>")) == ["A dog."]


@pytest.mark.parametrize("start", ["<?xml version='1.0'?>", ""])
def test_entities_of_xhtml_itself_stay(laws, start):
    declared = (
        """<!ENTITY brand "Our Shop"><!ENTITY prod 'Our Ware'><!ENTITY eacute "&#233;"><!ENTITY lt "&#38;#60;">"""
    )
    root = '<html xmlns="http://www.w3.org/1999/xhtml">'
    text = (
        f'{start}<!DOCTYPE html [{declared}]>{root}<p title="a &brand;">A &brand; caf&eacute; &lt; &prod; of &my-x.y;'
    )
    document = laws.check(read_html, text.encode())
    assert laws.read_texts(document) == ["a &brand;", "A &brand; café < &prod; of &my-x.y;"]
    assert laws.translate(document, str.upper).endswith('<p title="A &brand;">A &brand; CAFÉ &lt; &prod; OF &my-x.y;')
    page = b"<!DOCTYPE html><p>caf&eacute; &brand; of &prod;"
    assert laws.read_texts(laws.check(read_html, page)) == ["café &brand; of ∏"]


def test_translation_is_escaped():
    document = read_html(b'<p title="a">b</p>')
    translations = {"a": ("x",), "b": ('1 < 2 & "q"\xa0<b>',)}
    rendered = document.render([translations[segment.text] for segment in document.segments])
    assert rendered == b'<p title="x">1 &lt; 2 &amp; "q"&nbsp;&lt;b&gt;</p>'
    document = read_html(b"<img alt='a'>")
    assert document.render([("it's & <so>",)]) == b"<img alt='it&#39;s &amp; &lt;so&gt;'>"
    document = read_html(b'<?xml version="1.0"?><p title="a">b</p>')
    assert document.render([("x\xa0",), ("y\xa0",)]) == b'<?xml version="1.0"?><p title="x&#160;">y&#160;</p>'


def test_encodings(laws):
    page = "<meta charset=iso-8859-1><p>Stra\xdfe</p>".encode("latin-1")
    document = laws.check(read_html, page)
    assert laws.read_texts(document) == ["Straße"]
    assert document.render(
        [("Улица é",)]
    ) == "<meta charset=iso-8859-1><p>&#1059;&#1083;&#1080;&#1094;&#1072; \xe9</p>".encode("latin-1")
    for encoding in ("utf-8-sig", "utf-16"):
        for page in ("<p>Straße</p>\r\n", "Straße"):
            document = laws.check(read_html, page.encode(encoding))
            assert laws.read_texts(document) == ["Straße"]
            assert laws.translate(document, str.upper) == "\ufeff" + page.replace("Straße", "STRASSE")
    laws.check(read_html, b"")


@pytest.mark.parametrize(
    ("head", "source", "expected"),
    [
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", "caf\xe9", "\xe9 &#8364;"),
        ("<meta charset=latin1>", "cafe", "\xe9 &#8364;"),
        ("<meta charset=us-ascii>", "cafe", "&#233; &#8364;"),
        ("<meta charset=us-ascii>", "caf\xe9", "\xe9 &#8364;"),
        ("<?xml version='1.0' encoding='latin-1'?>", "\x80", "\xe9 \x80"),
        ("<meta charset=windows-1252>", "cafe", "\xe9 \x80"),
    ],
)
def test_no_file_becomes_windows_1252(laws, head, source, expected):
    document = laws.check(read_html, f"{head}<p>a {source}</p>".encode("latin-1"))
    assert document.render([("é €",)]) == f"{head}<p>{expected}</p>".encode("latin-1")


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"<p>a\n\xff</p>", "line 2"), (b"<p>\n\na\0</p>", "line 3"), (b"<meta charset=nonsense>", None)],
)
def test_what_cannot_be_read(content, place):
    with pytest.raises(DataError) as error:
        read_html(content)
    assert error.value.at == place
    assert "\n" not in error.value.message


def test_sentences_and_nesting(laws):
    document = laws.check(read_html, b"<p>Ask Dr. Smith. <b>Now go. Home.</b> Yes.</p>")
    assert laws.read_texts(document) == ["Ask Dr. Smith.", "Now go. Home.", "Yes."]
    laws.check(read_html, b"<div>" * 20000 + b"deep")
    laws.check(read_html, b"<p>" + b"word " * 100000)


@pytest.mark.parametrize("mark", ["<br>", "<BR/>", "<br class=x>", "<br />", " <br>", "<!-- a --><br><br>"])
def test_a_sentence_ends_at_a_line_break(laws, mark):
    text = f"<p>The <b>dog.{mark}Sleeps</b> here.{mark}The cat<br>too.</p>"
    document = laws.check(read_html, text.encode())
    assert laws.read_texts(document)[1] == "The cat<br>too."
    changed = laws.translate(document, str.upper)
    assert changed == f"<p>THE <b>DOG.{mark}SLEEPS</b> HERE.{mark}THE CAT<br>TOO.</p>"


@pytest.mark.parametrize("blank", ["&nbsp;", "&#160;", "\xa0", " &nbsp;", "&nbsp; "])
def test_no_break_spaces_around_a_sentence_stay(laws, blank):
    text = f"<p>{blank}<span>The cat.{blank}The <b>dog</b>.{blank}</span></p>"
    document = laws.check(read_html, text.encode())
    assert [segment.text for segment in document.segments] == ["The cat.", "The <b>dog</b>."]
    assert laws.translate(document, str.upper) == text.replace("The cat", "THE CAT").replace("The <b>dog", "THE <b>DOG")


MARKS = [
    "<sup>1</sup>",
    "<sup><a href='#n1'>[1]</a></sup>",
    '<a class=x href="#n"><sup>1</sup></a>',
    "<a href=#n>1</a>",
]


@pytest.mark.parametrize("mark", MARKS)
def test_marks_of_footnotes_are_no_words(laws, stand_in, mark):
    text = f"<p>A girl{mark} has a bike.{mark} Two dogs <b>sleep</b>{mark}</p>"
    document = laws.check(read_html, text.encode())
    translator = stand_in()
    assert translate_document(document, translator).content.decode() == text
    assert [request.source for request in translator.requests] == ["A girl has a bike.", "Two dogs sleep"]


def test_fillers_of_word_keep_what_they_fill(stand_in):
    text = "<p>A <span>cat sleeps<o:p>&nbsp;</o:p></span></p>"
    translator = stand_in(lambda request: request.source.replace("sleeps", "schläft"))
    assert translate_document(read_html(text.encode()), translator).content.decode() == text.replace(
        "sleeps", "schläft"
    )


def test_numbers_that_are_read_are_words(laws):
    text = '<p>See page <a href="#p5">5</a> (and <a href="#p6">6</a>), <a href="x">7</a>, the 4<sup>th</sup>.</p>'
    segment = laws.check(read_html, text.encode()).segments[0]
    assert "".join(part for part in segment.parts if isinstance(part, str)) == "See page 5 (and 6), 7, the 4th."


@pytest.mark.parametrize("start", ["<code>Foo</code>", "<b>Foo</b>", "&quot;Foo&quot;", "1@a.example"])
def test_a_sentence_may_start_with_what_cannot_be_cut(laws, start):
    document = laws.check(read_html, f"<p>The dog sleeps. {start} is here.</p>".encode())
    assert laws.read_texts(document)[0] == "The dog sleeps."


def test_wrapped_text_is_wrapped_again(laws):
    text = "<p>\n  The first line is about this long, is it not,\n  and the second too.\n</p>"
    changed = laws.translate(read_html(text.encode()), lambda part: part + " More words for a third line.")
    assert re.match(r"<p>\n  The first", changed)
    assert all(len(line) <= 48 for line in changed.split("\n"))


def test_text_that_looks_like_a_tag_stays_text(stand_in):
    text = "<p>Open &lt;file&gt; &amp; &lt;b&gt;this&lt;/b&gt; now.</p>"
    translated = translate_document(
        read_html(text.encode()), stand_in(lambda request: request.source.replace("now", "jetzt"))
    )
    assert translated.content.decode() == text.replace("now", "jetzt")


def test_browsers_show_these_in_a_line(laws):
    for sentence in (
        "A <my-tag>big</my-tag> dog.",
        "I <label for=x>agree <input></label> now.",
        'A <picture><source srcset="x"><img src="y"></picture> here.',
        "A <o:p></o:p>word.",
    ):
        document = laws.check(read_html, f"<div><p>{sentence}</p><p>Next</p></div>".encode())
        assert laws.read_texts(document) == [sentence, "Next"]


def test_a_picture_is_one_whose_description_is_translated(laws):
    page = '<p>A <picture><source srcset="x"><img alt="a cat"></picture> here.<picture translate=no><img alt="a cat">'
    document = laws.check(read_html, page.encode())
    assert [part.kind for part in document.segments[0].protected] == ["standalone"]
    changed = laws.translate(document, str.upper)
    assert changed == page.replace("a cat", "A CAT", 1).replace("here", "HERE")


@pytest.mark.parametrize(
    "tag",
    [
        "<textarea placeholder='{}'></textarea>", "<iframe title='{}'></iframe>", "<canvas aria-label='{}'></canvas>",
        "<code title='{}' aria-label='src/main.py'>no</code>", "<kbd title=src/main.py aria-label='{}'>no</kbd>",
        "<svg aria-label='{}'><g title='no'/></svg>",
        "<pre title='{}'><i title=no></i></pre>",
        "<object title='{}'><p title=no>no</p></object>", "<video><source src=x><track label='{}'></video>",
    ],
)  # fmt: skip
def test_attributes_of_elements_whose_content_is_left(laws, tag):
    page = f"<p>Look: {tag.format('A dog')} here."
    changed = laws.translate(laws.check(read_html, page.encode()), str.upper)
    assert changed == f"<p>LOOK: {tag.format('A DOG')} HERE."
    for before in ("<div translate=no>", "<span class=notranslate>"):
        assert not laws.check(read_html, (before + tag.format("A dog")).encode()).segments
    refused = re.sub("(?=>)", " translate=no>", tag.format("A dog"), count=1)
    assert not laws.check(read_html, refused.encode()).segments


@pytest.mark.parametrize(
    ("element", "is_seen"),
    [("svg:svg", True), ("m:math", True), ("M:MATH", True), ("svg:script", False), ("s:style", False)],
)
def test_elements_of_xhtml_may_have_a_prefix(laws, element, is_seen):
    inner = f'<{element} title="a dog"><m:b>no</m:b></{element}>'
    text = f"<p>A <m:code>cat</m:code> {inner} here.</p>"
    document = laws.check(read_html, f"<?xml version='1.0'?>{text}".encode())
    changed = laws.translate(document, str.upper)
    seen = inner.replace("a dog", "A DOG") if is_seen else inner
    assert changed.endswith(f"<p>A <m:code>CAT</m:code> {seen} HERE.</p>")
    assert "NO" in laws.translate(laws.check(read_html, text.encode()), str.upper)


def test_names_of_styles_are_left():
    assert not read_html(b"<style title=Dark></style><script title=Go></script><template title=Go></template>").segments


def test_nothing_in_a_template_is_translated(laws):
    track = "<video><track label='A dog'></video>"
    document = laws.check(read_html, f"<template>{track}<p title='A dog'>A dog</p></template><p>A cat{track}".encode())
    assert laws.read_texts(document) == ["A cat", "A dog"]


def test_a_title_of_code_without_spaces_is_translated_where_words_have_none(laws):
    document = laws.check(read_html, "<pre title='設定の例'></pre><pre title=' main.py '></pre>".encode())
    assert laws.read_texts(document) == ["設定の例"]


def test_ruby_keeps_its_reading(stand_in, laws):
    ruby = "<ruby>kan<rp>(</rp><rt>ji</rt><rp>)</rp></ruby>"
    document = laws.check(read_html, f"<p>The {ruby} dog <ruby>a<rt>b<rb>c<rt>d</ruby></p>".encode())
    assert [part.shown for part in document.segments[0].protected] == ["kan", "ac"]
    translated = translate_document(document, stand_in(lambda request: request.source.replace("dog", "Hund")))
    assert ruby + " Hund " in translated.content.decode()


@pytest.mark.parametrize("start", ["<a ", '<a b=">"', "</a ", "<!--", "<!", "<?", "<![CDATA[", "<a/"])
def test_markup_that_never_ends_takes_the_rest_at_once(start):
    for rest in (start, start * 1000):
        tokens = tokenize_html(f"<p>Word</p>\n{rest}")
        assert [(token.kind, token.never_ends) for token in tokens[3:]] == [("text", False), ("other", True)]
        assert tokens[-1].end - tokens[-1].start == len(rest)
    text = f"<p>Word</p>\n{start * 1000}"
    told = []
    document = read_html(text.encode(), warn=told.append)
    assert [segment.text for segment in document.segments] == ["Word"]
    assert told == ["line 2: a tag or comment that never ends; what follows it is left as it is"]


@pytest.mark.parametrize(
    "text", ["<p>one <5 words", "<p>a <", "<script>a < b", "<p>a <!-- b -->", "<p>it's <b 'c>d</b>"]
)
def test_what_ends_is_not_told(text):
    told = []
    read_html(text.encode(), warn=told.append)
    assert not told


def test_a_broken_reference_leaves_the_tags_tags(laws):
    page = '<p>a &# b; &# c; &x; <b>bold &#xz; &#xz; &AMP</b> R&amp;D <i translate="n&#111;">no</i></p><p>next</p>'
    document = laws.check(read_html, page.encode())
    assert laws.read_texts(document)[1] == "next"
    assert [part.text for part in document.segments[0].protected[:2]] == ["<b>", "</b>"]
    assert document.segments[0].protected[2].shown == "no"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<p translate="no">A dog<p>A cat', ["A cat"]),
        ('<pre>A <span translate="yes">dog</span></pre>A cat', ["A cat"]),
        ("<svg/><p>A cat", ["A cat"]),
        ('<img ALT="A cat">', ["A cat"]),
    ],
)
def test_what_is_read_of_a_page(laws, text, expected):
    assert laws.read_texts(laws.check(read_html, text.encode())) == expected
