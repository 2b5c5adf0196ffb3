import random
import re
from collections import Counter

import pytest

from mtkit.documents import protection
from mtkit.documents.document import Protected, Segment
from mtkit.documents.placeholders import find_placeholders, protect_placeholders
from mtkit.documents.protection import find_made_up, mask_segment, unmask, use_stand_ins

BOLD = (Protected("<b>", "open", 0), Protected("</b>", "close", 0))


def put_back(parts, translation, links):
    """The translation of a segment's text with its stretches in it; links are those of words, as `0-1 1-0`."""
    pairs = tuple(tuple(map(int, link.split("-"))) for link in links.split())
    return write(unmask(mask_segment(Segment(parts)), translation, pairs))


def read(text):
    return mask_segment(Segment(find_placeholders(text)))


def write(parts):
    return None if parts is None else "".join(part if isinstance(part, str) else part.text for part in parts)


def diagonal(text):
    return tuple((i, i) for i in range(len(text.split())))


def protected(text):
    return [part.text for part in find_placeholders(text) if isinstance(part, Protected)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%s of %1$s, %(name)s, %d, %5.2f and %%", ["%s", "%1$s", "%(name)s", "%d", "%5.2f", "%%"]),
        ("{0} {name} {} {x:.2f} {{ user }}", ["{0}", "{name}", "{}", "{x:.2f}", "{{ user }}"]),
        ("${path} $user %PRODUCTNAME", ["${path}", "$user", "%PRODUCTNAME"]),
        ("{0,number}, {when, date, ::dMMM}, {a,b} and {n,plural,one{#}}", ["{0,number}", "{when, date, ::dMMM}"]),
        ("%S, %2$S and %n% of %user_name% or %COUNT%", ["%S", "%2$S", "%n%", "%user_name%", "%COUNT%"]),
        ("%d% %s%% %ld% %s%d, %C3%A4, %Sicher, 5%off%", ["%d", "%s", "%%", "%ld", "%s", "%d"]),
        ("Read <0>the <1>docs</1></0><2/>", ["<0>", "<1>", "</1>", "</0>", "<2/>"]),
        ("&amp; and &#53;", ["&amp;", "&#53;"]),
        ("<b>bold</b><br/>", ["<b>", "</b>", "<br/>"]),
        ('<a href="%(url)s" class=x>', ['<a href="%(url)s" class=x>']),
        ("<a {attributes}>x</a>", ["<a {attributes}>", "</a>"]),
        ("See https://example.org/a?b=%s.", ["https://example.org/a?b=%s"]),
        (r"one\ntwo", [r"\n"]),
        ("one\n two\ttwo", ["\n ", "\t"]),
        ("100% sure, 50% discount, $100, R&D, 3 < 4 > 2, 1 <3 and 4> 2, a {set of things}", []),
    ],
)  # fmt: skip
def test_placeholders_are_found(text, expected):
    parts = find_placeholders(text)
    assert protected(text) == expected
    assert "".join(p if isinstance(p, str) else p.text for p in parts) == text


@pytest.mark.parametrize(
    "text", [" " * 50_000, "<a " * 20_000, "{" * 50_000, "http:" * 10_000, '<a "' * 20_000, "&a" * 20_000]
)
def test_long_oddities_take_no_time(text):
    """Time that grows with the square of the length would be minutes."""
    assert "".join(p if isinstance(p, str) else p.text for p in find_placeholders(f"a{text}b")) == f"a{text}b"


def test_tags_are_paired():
    kinds = [
        (p.text, p.kind, p.pair) for p in find_placeholders("<i>a <b>b</b></i> <u>c <name>") if not isinstance(p, str)
    ]
    assert kinds[:4] == [("<i>", "open", 1), ("<b>", "open", 0), ("</b>", "close", 0), ("</i>", "close", 1)]
    assert kinds[4:] == [("<u>", "standalone", None), ("<name>", "standalone", None)]


def test_an_opening_tag_that_is_never_closed_is_a_word():
    shown = {
        part.text: part.shown
        for part in find_placeholders("<b>Enter</b> <name> <br> </x> <y/>")
        if not isinstance(part, str)
    }
    assert shown == {"<b>": "", "</b>": "", "<name>": "<name>", "<br>": "", "</x>": "", "<y/>": ""}


def test_pairs_of_the_document_keep_their_numbers():
    parts = protect_placeholders((BOLD[0], "a <i>b</i>", BOLD[1], "<u>c</u>"))
    assert [p.pair for p in parts if isinstance(p, Protected)] == [0, 1, 1, 0, 2, 2]


def test_the_model_sees_placeholders_but_no_tags():
    masked = read("  Open <b>%(file)s</b> now.\n")
    assert masked.text == "Open %(file)s now."
    assert masked.names == ("%(file)s",)


def test_words_that_only_tags_part_stay_two():
    assert read("<td>one</td><td>two</td>").text == "one two"
    assert read("one<br>two").text == read("one<br><br>two").text == "one two"
    assert read("un<b>happy</b>").text == "unhappy"


PIECES = [
    "word",
    "Word,",
    "%s",
    "{0}",
    "{name}",
    "<br/>",
    "\n",
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "(",
    ")",
    "&lt;",
    " ",
    "  ",
    ". ",
]


def test_a_copy_comes_back_as_it_was():
    draw = random.Random(1)
    for _ in range(1000):
        text = "".join(draw.choices(PIECES, k=draw.randint(1, 12)))
        masked = read(text)
        if masked.text and masked.has_words:
            assert Counter(protected(write(unmask(masked, masked.text, diagonal(masked.text))))) == Counter(
                protected(text)
            )


@pytest.mark.parametrize(
    "text",
    [
        " A <b>red</b> (<i>big</i>) house. ",
        "<p>One, <b>two</b>.</p>\n",
        "Line one.\n  Line <br/> two<br/>three",
        "%s: <a href='x'>%d</a>, <b><i>c</i> d</b>",
        "<li>one</li>",
        "one<br>",
        "<b>One</b>: two <b>three</b>",
        '"<b>One</b>"',
        "a<sup>2</sup> b",
        "\n\nText\n",
        "Press <b>this</b> <br/> key",
        "Press <b>this</b><br/> <i>that</i> key",
    ],
)
def test_a_copy_of_usual_markup_is_equal(text):
    masked = read(text)
    assert write(unmask(masked, masked.text, diagonal(masked.text))) == text


def test_whatever_the_order_each_comes_back_once_and_pairs_nest():
    draw = random.Random(2)
    for _ in range(500):
        words = [draw.choice(["one", "two", "three", "{a}", "{b}", "%1$s"]) + str(i) for i in range(draw.randint(2, 9))]
        parts = list(words)
        for name in ("b", "i", "u"):
            first, last = sorted(draw.sample(range(len(words)), 2))
            parts[first], parts[last] = f"<{name}>{parts[first]}", f"{parts[last]}</{name}>"
        text = " ".join(parts) + draw.choice(["", "<br/>", "<br/>end"])
        masked = read(text)
        source = masked.text.split()
        order = draw.sample(range(len(source)), len(source))
        links = tuple((i, j) for j, i in enumerate(order) if draw.random() < 0.7)
        result = unmask(masked, " ".join(source[i] for i in order), links)
        assert Counter(protected(write(result))) == Counter(protected(text))
        assert is_nested(result)


def is_nested(parts):
    """Return whether the pairs among the parts close in the order in which pairs must."""
    opened = []
    for part in parts:
        if isinstance(part, Protected) and part.kind == "open":
            opened.append(part.pair)
        elif isinstance(part, Protected) and part.kind == "close" and opened.pop() != part.pair:
            return False
    return not opened


@pytest.mark.parametrize(
    ("source", "translation", "links", "expected"),
    [
        ("A <b>red</b> house.", "Une maison rouge.", "0-0 1-2 2-1", "Une maison <b>rouge</b>."),
        ("Click <a>here</a>.", "Klicken Sie hier.", "0-0 0-1 1-2", "Klicken Sie <a>hier</a>."),
        ("Click <a>here</a>!", "Hier klicken!", "0-1 1-0", "<a>Hier</a> klicken!"),
        (
            "A <b>red</b> <i>%s</i>, old house",
            "Une %s rouge maison, vieille",
            "0-0 1-2 2-1 3-4 4-3",
            "Une <i>%s</i> <b>rouge</b> maison, vieille",
        ),
        ("<b>Delete</b> file", "Datei löschen", "0-1 1-0", "Datei <b>löschen</b>"),
        ("The <b>big dog</b> barks", "Es bellt der große Hund", "0-2 1-3 2-4 3-1", "Es bellt der <b>große Hund</b>"),
        ("One two.<br/>Three four.", "Eins zwei. Drei vier.", "0-0 1-1 2-2 3-3", "Eins zwei.<br/>Drei vier."),
        ("One two.\nThree four.", "Eins. Drei vier.", "0-0 1-0 2-1 3-2", "Eins.\nDrei vier."),
        ("<b>One</b> two three four", "eins zwei drei vier", "", "<b>eins</b> zwei drei vier"),
        ("<p>One <b>%s</b></p>", "%s Eins", "0-1 1-0", "<p><b>%s</b> Eins</p>"),
        ("A cat near <br/>.", "Bei einer Katze", "2-0 3-1", "Bei <br/> einer Katze"),
        ("A cat<br/>, near.", "Nah einer Katze.", "0-1 1-2 2-0", "Nah einer Katze.<br/>"),
        ("Near<br/>, a cat.", "Nah einer Katze.", "0-0 1-1 2-2", "Nah<br/> einer Katze."),
        ("Near (<br/> a cat).", "Nah einer Katze.", "0-0 2-1 3-2", "Nah <br/> einer Katze."),
        ("One two.<br/>Three four.", "Eins zwei drei vier.", "0-0 1-1 2-2 3-3", "Eins zwei<br/>drei vier."),
        ("One two\n(three).", "Eins zwei drei.", "0-0 1-1 2-2", "Eins zwei\ndrei."),
        ("%s files", "%s Dateien", "", "%s Dateien"),
        ("Hello {name}", "{name}, hallo", "", "{name}, hallo"),
        ("Read <0>it</0> <1/>now", "Jetzt lies es", "0-1 1-2 2-0", "Jetzt lies <0>es</0> <1/>"),
    ],
)
def test_links_of_words_say_where_tags_go(source, translation, links, expected):
    assert put_back(find_placeholders(source), translation, links) == expected


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("%s files", "Dateien"),
        ("%s files", "%s %s Dateien"),
        ("%s files", "%d Dateien"),
        ("%s files", "%s Dateien {0}"),
        ("Files", "%s Dateien"),
        ("Files", "<b>Dateien</b>"),
        ("%s has %d files", "%d Dateien hat %s"),
        ("Files", "  "),
        ("See https://example.org/a", "Siehe https://example.org/b"),
        ("See https://example.org/", "Siehe https://example.org/b"),
        ("Hello $user", "Hallo $users"),
    ],
)
def test_what_is_lost_doubled_made_up_or_moved_is_no_translation(source, translation):
    assert unmask(read(source), translation, ()) is None


def test_named_and_numbered_placeholders_may_move():
    assert write(unmask(read("%(a)s has %1$s, {0} and {b}"), "{b} {0} %1$s %(a)s", ())) == "{b} {0} %1$s %(a)s"


def test_what_is_shown_is_replaced_by_what_it_stands_for():
    segment = Segment(("Call ", Protected("<code>f</code>", shown="f"), " or f of ", Protected("&#53;", shown="5")))
    masked = mask_segment(segment)
    assert masked.text == "Call f or f of 5"
    assert write(unmask(masked, "f oder f von 5 rufen", ())) == "<code>f</code> oder f von &#53; rufen"
    assert unmask(masked, "f oder fünf von 5 rufen", ()) is None


@pytest.mark.parametrize("text", ["A dog in {name} for {5}", "<b>{0}</b> is %d<br/>and {1}, {name}", "a<i>%s</i>"])
def test_stand_ins_come_back_as_what_they_stand_for(text):
    masked = use_stand_ins(mask_segment(Segment(find_placeholders(text))))
    assert len(set(masked.names)) == len(masked.shown)
    assert all(masked.text.count(phrase) == 1 for phrase in masked.names)
    assert write(unmask(masked, masked.text, diagonal(masked.text))) == text


def test_what_a_stand_in_stands_for_must_not_grow():
    masked = use_stand_ins(mask_segment(Segment(find_placeholders("See https://a.example/ or %(name)s."))))
    assert masked.text == "See {0} or {1}."
    assert write(unmask(masked, "{1} oder {0} hier", None)) == "%(name)s oder https://a.example/ hier"
    assert unmask(masked, "{1} oder {0}hier", None) is None


def test_a_placeholder_that_a_word_grew_on_is_lost():
    masked = mask_segment(Segment(find_placeholders("%d dog of $name")))
    assert unmask(masked, "%d Hund von $name", None) is not None
    for translation in ("%dr Hund von $name", "%d Hund von $names"):
        assert unmask(masked, translation, None) is None
    assert find_made_up(masked, "%dr Hund von $names") >= {"%dr", "$names"}
    glued = mask_segment(Segment(find_placeholders("%dpx wide")))
    assert unmask(glued, "%dpx breit", None) is not None


def test_words_are_not_found_inside_words():
    masked = mask_segment(Segment(("Use ", Protected("<code>a</code>", shown="a"), ".")))
    assert write(unmask(masked, "Man nehme a.", ())) == "Man nehme <code>a</code>."


CODE = Protected("`name`", shown="name")


@pytest.mark.parametrize(
    ("parts", "translation", "links", "expected"),
    [
        (("The name, as ", CODE, " is"), "The name, as name is", "0-0 1-1 2-2 3-3 4-4", "The name, as `name` is"),
        (("The name, as ", CODE, " is"), "Wie name ist der name,", "0-3 1-4 2-0 3-1 4-2", "Wie `name` ist der name,"),
        (("The name, as ", CODE, " is"), "Der name, wie name ist", "", "Der name, wie `name` ist"),
        (("All ", CODE, "s of it"), "Alle names davon", "0-0 1-1", "Alle `name`s davon"),
        (("All ", CODE, "s of it"), "Alle name-Objekte davon", "0-0 1-1", "Alle `name`-Objekte davon"),
        (("it is", CODE, " there"), "es ist name da", "", "es ist `name` da"),
    ],
)
def test_a_word_that_stands_there_as_text_too_is_told_apart(parts, translation, links, expected):
    assert put_back(parts, translation, links) == expected


@pytest.mark.parametrize("text", ["a <i><br/></i> <b></b>", "<u></u> <i> <b></b></i>a", "a <i>b</i> <u></u> "])
def test_pairs_that_show_nothing_stay_at_the_edge_with_their_spaces(text):
    masked = read(text)
    assert write(unmask(masked, masked.text, diagonal(masked.text))) == text


def test_deep_pairs_nest():
    text = "a <u>" * 400 + "b" + "</u> c" * 400
    masked = read(text)
    result = unmask(masked, " ".join(reversed(masked.text.split())), diagonal(masked.text))
    assert Counter(protected(write(result))) == Counter(protected(text))
    assert is_nested(result)


def test_the_source_is_looked_through_once(monkeypatch):
    masked = read("Open %s and {name} <b>now</b>")
    seen = []
    monkeypatch.setattr(protection, "find_placeholders", lambda text: seen.append(text) or find_placeholders(text))
    texts = [f"Jetzt %s und {{name}} {{{number}}} auf" for number in range(5)]
    assert [unmask(masked, text, None) for text in texts] == [None] * 5
    assert [find_made_up(masked, text) for text in texts] == [{f"{{{number}}}"} for number in range(5)]
    assert seen.count(masked.text) <= 2
    assert all(seen.count(text) == 2 for text in texts)


IMAGE, OTHER = Protected("<x/>"), Protected("<y/>")


@pytest.mark.parametrize(
    ("parts", "translation", "links", "expected"),
    [
        (("Dear ", IMAGE, " ", OTHER, " there"), "Hallo du", "0-0 1-1", "Hallo <x/> <y/> du"),
        (("Dear ", IMAGE, OTHER, " there"), "Hallo du", "0-0 1-1", "Hallo <x/><y/> du"),
        (("Open ", IMAGE, " now"), "Jetzt öffnen", "0-1 1-0", "Jetzt öffnen <x/>"),
        (("Open ", IMAGE, " now please"), "Jetzt bitte öffnen", "0-2 1-0 2-1", "<x/> Jetzt bitte öffnen"),
        (
            find_placeholders("See <a><img></a> <b><img></b> now"),
            "Sieh da",
            "0-0 1-1",
            "Sieh <a><img></a> <b><img></b> da",
        ),
        (find_placeholders("See <b><img> this</b> now"), "Sieh dies da", "0-0 1-1 2-2", "Sieh <b><img> dies</b> da"),
    ],
)
def test_stretches_at_one_place_keep_their_spaces(parts, translation, links, expected):
    assert put_back(parts, translation, links) == expected


@pytest.mark.parametrize(
    ("parts", "translation", "links", "expected"),
    [
        (("Hello ", IMAGE, "!"), "Hallo!", "0-0 1-0", "Hallo <x/>!"),
        (("A dog", IMAGE, ". It runs"), "Ein Hund. Er läuft", "0-0 1-1 2-2 3-3", "Ein Hund<x/>. Er läuft"),
        (('Delete "', IMAGE, '"?'), 'Lösche ""?', "0-0 1-1", 'Lösche "<x/>"?'),
        (('Delete "', IMAGE, '" now?'), 'Jetzt "" löschen?', "0-2 1-1 2-1 3-0", 'Jetzt "<x/>" löschen?'),
        (("Done (", IMAGE, " items)."), "Fertig (Artikel).", "0-0 1-1 2-1", "Fertig (<x/> Artikel)."),
    ],
)
def test_stretches_stay_beside_the_marks_that_they_touch(parts, translation, links, expected):
    assert put_back(parts, translation, links) == expected


def test_what_was_apart_stays_apart_whatever_the_order():
    """Between words and stretches that blanks parted there is one blank, and none at the edges."""
    kinds = ("{}", "<x{}/>", "<b{}>{}</b{}>", "<b{}><x{}/></b{}>", "<b{}><x{}/> {}</b{}>", "<b{}>{} <x{}/></b{}>")
    for seed in range(500):
        choose = random.Random(seed)
        text = " ".join(choose.choice(kinds).replace("{}", letter) for letter in "abcdefg"[: choose.randint(2, 7)])
        masked = read(text)
        if not masked.has_words:
            continue
        order = list(range(len(masked.text.split())))
        choose.shuffle(order)
        translation = " ".join(masked.text.split()[place] for place in order)
        written = write(unmask(masked, translation, tuple((i, j) for j, i in enumerate(order))))
        assert Counter(protected(written)) == Counter(protected(text))
        seen = re.sub(r"</?b\w>", "", written)
        assert re.fullmatch(r"(?:\w|<x\w/>)(?: (?:\w|<x\w/>))*", seen), (text, translation, written)
