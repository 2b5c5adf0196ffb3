import re

import pytest
from lxml import etree

from mtkit.documents.options import DocumentOptions
from mtkit.documents.pipeline import translate_document
from mtkit.documents.xliff import read_xliff
from mtkit.errors import DataError

XLIFF_1 = """<?xml version="1.0" encoding="utf-8"?>
<!-- a comment -->
<xliff xmlns="urn:oasis:names:tc:xliff:document:1.2" xmlns:x="urn:example" version="1.2">
  <file original="a.c" source-language="en" target-language="de" datatype="plaintext">
    <header><note>kept</note></header>
    <body>
      <group id="g" x:own="yes">
        <trans-unit id="1" x:hash="abc">
          <source>Open <g id="1" ctype="bold">the <x id="2"/> file</g> %s &lt;now&gt; &amp; here.</source>
          <note>for the translator</note>
        </trans-unit>
        <trans-unit id="2" approved="yes"><source>Close</source><target state="final">Schließen</target></trans-unit>
      </group>
      <trans-unit id="3"><source>Save</source><target state="needs-review-translation">Spei</target></trans-unit>
      <trans-unit id="4" translate="no"><source>mtkit</source></trans-unit>
      <trans-unit id="5">
        <source>Press <bpt id="1">[b]</bpt>this<ept id="1">[/b]</ept> <ph id="2">{0}</ph> key.</source>
        <target/>
        <alt-trans><source>Press</source><target>Drücken</target></alt-trans>
      </trans-unit>
      <trans-unit id="6">
        <source>One. Two.</source>
        <seg-source><mrk mtype="seg" mid="0">One.</mrk> <mrk mtype="seg" mid="1">Two.</mrk></seg-source>
      </trans-unit>
      <trans-unit id="7"><source>The <mrk mtype="protected">mtkit</mrk> tool</source></trans-unit>
    </body>
  </file>
</xliff>
"""
XLIFF_2 = """<?xml version="1.0"?>
<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en" trgLang="de">
  <file id="f">
    <unit id="1">
      <notes><note>kept</note></notes>
      <originalData><data id="d1">[b]</data></originalData>
      <segment id="s1"><source>Open <pc id="1">the <ph id="2" dataRef="d1"/> file</pc>.</source></segment>
      <ignorable><source> </source></ignorable>
      <segment id="s2" state="final"><source>Close</source><target>Schließen</target></segment>
    </unit>
    <unit id="2" translate="no"><segment><source>mtkit</source></segment></unit>
    <unit id="3">
      <segment>
        <source>Press <sc id="1"/>this<ec startRef="1"/> &lt;b&gt;key&lt;/b&gt;</source>
      </segment>
    </unit>
  </file>
</xliff>
"""


def fill(text, translator, **options):
    """Return the filled file as a tree whose namespace is gone, for short paths."""
    translated = translate_document(read_xliff(text.encode(), "a.xlf", DocumentOptions(**options)), translator)
    root = etree.fromstring(translated.content)
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname
    return root, translated


def translate(text, translator):
    """Return the filled file as text."""
    document = read_xliff(text.encode(), "a.xlf", DocumentOptions())
    return translate_document(document, translator).content.decode()


def inner(element):
    text = etree.tostring(element, encoding="unicode", with_tail=False)
    return text[text.index(">") + 1 : text.rindex("</")]


def unit(root, number):
    return root.xpath(f"//*[(self::trans-unit or self::unit) and @id='{number}']")[0]


@pytest.mark.parametrize("text", [XLIFF_1, XLIFF_2])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_untouched_it_is_what_lxml_writes(text, newline, mark):
    """Around it stand the declaration, the line ends and the end of the file as they were."""
    tree = etree.fromstring(text.encode()).getroottree()
    declaration = text.partition("\n")[0]
    expected = f"{mark}{declaration}\n{etree.tostring(tree, encoding='unicode')}\n".replace("\n", newline)
    document = read_xliff((mark + text.replace("\n", newline)).encode())
    assert document.render([None] * len(document.segments)).decode() == expected


@pytest.mark.parametrize("text", [XLIFF_1, XLIFF_1.replace(' encoding="utf-8"', ""), XLIFF_2])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_written_as_utf_8_is(stand_in, text, newline, mark, codec):
    text = mark + text.replace("Open", "Öffne\U0001f600").replace("\n", newline)
    declared = codec[:6] if mark else codec
    content = text.replace("utf-8", declared).encode(codec)
    found, expected = (translate_document(read_xliff(each), stand_in()).content for each in (content, text.encode()))
    assert found == expected.decode().replace("utf-8", declared).encode(codec) != content


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "iso-8859-1"])
def test_other_encodings_can_be_read_back(stand_in, encoding):
    text = XLIFF_1.replace('encoding="utf-8"', f'encoding="{encoding[:10]}"').replace("utf-16-be", "utf-16")
    content = (b"\xfe\xff" if encoding == "utf-16-be" else b"") + text.encode(encoding, "xmlcharrefreplace")
    found, expected = (
        etree.fromstring(translate_document(read_xliff(each), stand_in()).content)
        for each in (content, XLIFF_1.encode())
    )
    assert etree.tostring(found, method="c14n") == etree.tostring(expected, method="c14n")


def test_targets_are_filled_with_their_state(stand_in):
    root, translated = fill(XLIFF_1, stand_in())
    source, target = unit(root, 1).find("source"), unit(root, 1).find("target")
    assert target.get("state") == "needs-review-translation"
    assert target.get("state-qualifier") == "mt-suggestion"
    assert inner(target).replace(' xmlns:x="urn:example"', "") == inner(source).replace(' xmlns:x="urn:example"', "")
    assert [child.tag for child in unit(root, 1)] == ["source", "target", "note"]
    assert translated.summary.kept_at_once == translated.summary.num_protected > 0


@pytest.mark.parametrize("text", [XLIFF_1, XLIFF_2])
def test_white_space_of_a_new_target_counts_as_in_its_source(stand_in, text):
    text = text.replace("<source>", '<source xml:space="preserve">')
    root, _ = fill(text, stand_in())
    space = "{http://www.w3.org/XML/1998/namespace}space"
    made = [e for e in root.iter("{*}target") if e.get(space)]
    assert made and all(e.getparent().find("{*}source").get(space) == "preserve" for e in made)


def test_nothing_else_changes(stand_in):
    root, translated = fill(XLIFF_1, stand_in())
    assert unit(root, 2).find("target").text == "Schließen"
    assert unit(root, 3).find("target").text == "Spei"
    assert unit(root, 4).find("target") is None
    for element in root.iter("target"):
        if element.getparent().get("id") in ("1", "6", "7"):
            element.getparent().remove(element)
    for part in (b"<!-- a comment -->", b'x:own="yes"', b'x:hash="abc"', b"<note>kept</note>", b"<target>Dr"):
        assert part in translated.content
    again = read_xliff(translated.content, "a.xlf")
    assert not again.segments


def test_a_large_document_inside_is_kept(stand_in):
    """Of what Trados writes it is most; lxml takes no text of more than 10 MB by itself."""
    original = f'<internal-file form="base64">{"UEsD" * 3_000_000}</internal-file>'
    translator = stand_in()
    found = translate(XLIFF_1.replace("<note>kept</note>", original), translator)
    assert found == translate(XLIFF_1, translator).replace("<note>kept</note>", original)


def test_codes_keep_their_content(stand_in):
    def change(request):
        return request.source.replace("Press this key.", "Taste drücken diese.")

    root, _ = fill(XLIFF_1, stand_in(change))
    target = unit(root, 5).find("target")
    assert [child.tag for child in target] == ["bpt", "ept", "ph"]
    assert [child.text for child in target] == ["[b]", "[/b]", "{0}"]


def test_segments_of_a_unit_are_filled_each(stand_in):
    translator = stand_in(lambda request: {"One.": "Eins.", "Two.": "Zwei."}.get(request.source, request.source))
    root, _ = fill(XLIFF_1, translator)
    target = unit(root, 6).find("target")
    assert "".join(target.itertext()) == "Eins. Zwei."
    assert [mark.get("mid") for mark in target] == ["0", "1"]
    assert "".join(unit(root, 6).find("seg-source").itertext()) == "One. Two."
    assert [child.tag for child in unit(root, 6)] == ["source", "seg-source", "target"]


def test_the_state_of_a_unit_is_that_of_its_only_segment(stand_in):
    text = XLIFF_1.replace(
        ' <mrk mtype="seg" mid="1">Two.</mrk></seg-source>',
        '</seg-source><target state="needs-translation"><mrk mtype="seg" mid="0">Eins</mrk></target>',
    )
    root, _ = fill(text, stand_in(), fill="fuzzy")
    assert "".join(unit(root, 6).find("target").itertext()) == "One."


@pytest.mark.parametrize("there", [0, 1])
def test_segments_that_are_there_stay(stand_in, there):
    mark = '<mrk mtype="seg" mid="{}">{}</mrk>'
    source = mark.format(0, 'One <x id="1"/>.') + ' <g id="2">' + mark.format(1, "Two.") + "</g>"
    target = mark.format(there, 'Mine <x id="1"/>')
    text = XLIFF_1.replace(
        '<seg-source><mrk mtype="seg" mid="0">One.</mrk> <mrk mtype="seg" mid="1">Two.</mrk></seg-source>',
        f"<seg-source>{source}</seg-source><target>{target}</target>",
    )
    root, translated = fill(
        text, stand_in(lambda request: request.source.replace("One", "Eins").replace("Two", "Zwei"))
    )
    made = [mark.format(0, 'Eins <x id="1"/>.'), mark.format(1, "Zwei.")]
    made[there] = target
    namespaces = re.compile(r'\sxmlns(:x)?="[^"]*"')
    assert namespaces.sub("", inner(unit(root, 6).find("target"))) == made[0] + ' <g id="2">' + made[1] + "</g>"
    assert len(list(unit(root, 6).iter("target"))) == 1
    assert not read_xliff(translated.content).segments


def test_a_split_segment_among_others_is_left_where_the_state_may_be_of_another(stand_in):
    target = '<mrk mtype="seg" mid="0">Ei</mrk><mrk mtype="seg" mid="0_1">ns.</mrk>'
    text = divide(MARKS, f'<target state="needs-translation">{target}</target>')
    found = unit(fill(text, stand_in(), fill="fuzzy")[0], 6).find("target")
    assert "".join(found.itertext()) == "Eins."


def divide(source, target):
    """Return a file whose unit 6 has this in `seg-source`, and this target."""
    start, end = XLIFF_1.index("<seg-source>"), XLIFF_1.index("</seg-source>")
    return f"{XLIFF_1[:start]}<seg-source>{source}</seg-source>{target}{XLIFF_1[end + len('</seg-source>') :]}"


MARKS = '<mrk mtype="seg" mid="0">One.</mrk> and <mrk mtype="seg" mid="1">Two.</mrk>'


@pytest.mark.parametrize(
    "target",
    [
        "Von Hand: zwei",
        '<mrk mtype="seg" mid="0-1">Von Hand</mrk>',
        '<mrk mtype="seg" mid="0">Eins</mrk> und <g id="1">zwei</g>',
        '<mrk mtype="seg" mid="0">Eins</mrk> <mrk mtype="seg" mid="0">Zwei</mrk>',
        '<mrk mtype="seg" mid="0">Eins</mrk> <mrk mtype="seg" mid="0">Zwei</mrk> <mrk mtype="seg" mid="1">Drei</mrk>',
        '<mrk mtype="seg" mid="0"/>Eins und zwei',
        '<mrk mtype="seg" mid="0"/>Eins und zwei<mrk mtype="seg" mid="1"/>',
        '<mrk mtype="seg" mid="0">Eins</mrk> und <mrk mtype="seg" mid="0_1">2</mrk>',
        "1 + 2",
        "One. Two.",
    ],
)
@pytest.mark.parametrize("state", ["final", "needs-translation"])
def test_a_translation_that_is_not_divided_as_its_source_stays(stand_in, target, state):
    text = divide(MARKS, f'<target state="{state}">{target}</target>')
    found = unit(fill(text, stand_in())[0], 6).find("target")
    assert re.sub(r'\sxmlns(:x)?="[^"]*"', "", inner(found)) == target
    assert found.get("state") == state
    assert "".join(unit(fill(text, stand_in(), fill="all")[0], 6).find("target").itertext()) == "One. and Two."


def test_a_translation_that_is_not_divided_has_the_state_of_its_unit(stand_in):
    text = divide(MARKS, '<target state="needs-translation">One. Two.</target>')
    target = unit(fill(text, stand_in(), fill="fuzzy")[0], 6).find("target")
    assert [mark.text for mark in target] == ["One.", "Two."]


@pytest.mark.parametrize("target", ["<target/>", '<target><mrk mtype="seg" mid="0">Eins</mrk> and </target>'])
def test_what_stands_between_the_segments_is_no_translation(stand_in, target):
    target = unit(fill(divide(MARKS, target), stand_in())[0], 6).find("target")
    assert inner(target).count(" and ") == 1
    assert target[1].text == "Two."


@pytest.mark.parametrize(
    "target",
    [
        '1. <mrk mtype="seg" mid="0">Eins</mrk> – <mrk mtype="seg" mid="1">{}</mrk>',
        '1. <mrk mtype="seg" mid="0">{}</mrk> – <mrk mtype="seg" mid="1">{}</mrk>',
        'Vor: <mrk mtype="seg" mid="0">Eins</mrk> sowie <mrk mtype="seg" mid="1">{}</mrk>',
        '<mrk mtype="seg" mid="0">Ei</mrk><mrk mtype="seg" mid="0_1">ns</mrk> <mrk mtype="seg" mid="1">{}</mrk>',
    ],
)
def test_what_stands_between_the_segments_may_be_written_otherwise(stand_in, target):
    text = divide("1) " + MARKS, f"<target>{target.format('', '')}</target>")
    found = unit(fill(text, stand_in())[0], 6).find("target")
    expected = target.format("One.", "Two.") if target.count("{}") == 2 else target.format("Two.")
    assert re.sub(r'\sxmlns(:x)?="[^"]*"', "", inner(found)) == expected


@pytest.mark.parametrize("options", [{"fill": "fuzzy"}, {"fill": "all"}])
@pytest.mark.parametrize("works", [True, False])
def test_what_was_split_is_replaced_as_a_whole(stand_in, options, works):
    source = '<mrk mtype="seg" mid="0">One. Two.</mrk>'
    target = '<mrk mtype="seg" mid="0">Eins.</mrk> <mrk mtype="seg" mid="0_1">Zwei.</mrk>'
    text = divide(source, f'<target state="needs-translation">{target}</target>')
    found = unit(fill(text, stand_in(lambda request: request.source if works else ""), **options)[0], 6).find("target")
    assert re.sub(r'\sxmlns(:x)?="[^"]*"', "", inner(found)) == (source if works else target)


def test_what_is_split_goes_with_all_that_is_replaced(stand_in):
    target = '<mrk mtype="seg" mid="0"/> <mrk mtype="seg" mid="1">Zw</mrk><mrk mtype="seg" mid="1_1">ei</mrk>'
    found = unit(fill(divide(MARKS, f"<target>{target}</target>"), stand_in(), fill="all")[0], 6).find("target")
    assert "".join(found.itertext()) == "One. and Two."


@pytest.mark.parametrize("mid", ["", ' mid="1"'])
@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("", False),
        ('<mrk mtype="seg"/> <mrk mtype="seg"/>', False),
        ('<g id="1"><mrk mtype="seg"> </mrk></g>', False),
        ("Von Hand", True),
        ('<mrk mtype="seg"/> <mrk mtype="seg">Zwei</mrk>', True),
        ('<g id="1"><mrk mtype="seg"/>Zwei</g>', True),
        ('<g id="1"><mrk mtype="seg"/></g>Zwei', True),
        ('<mrk mtype="seg"><x id="1"/></mrk>', True),
    ],
)
@pytest.mark.parametrize("divided", [True, False])
def test_segments_without_a_number_of_their_own_are_translated_as_one(stand_in, mid, target, stays, divided):
    target = target.replace(' mtype="seg"', f' mtype="seg"{mid}')
    text = divide(MARKS.replace(' mid="0"', mid).replace(' mid="1"', mid), target and f"<target>{target}</target>")
    root, _ = fill(text if divided else re.sub("<seg-source>.*</seg-source>", "", text), stand_in())
    found = re.sub(r'\sxmlns(:x)?="[^"]*"', "", inner(unit(root, 6).find("target")))
    assert found == (target if stays else "One. Two.")


@pytest.mark.parametrize(("target", "filled"), [("", True), ("<target/>", False)])
def test_what_is_approved_has_a_target(stand_in, target, filled):
    text = XLIFF_1.replace('<target state="final">Schließen</target>', target)
    holder = unit(fill(text, stand_in())[0], 2)
    assert (holder.findtext("target") == "Close", holder.get("approved")) == (filled, None if filled else "yes")


@pytest.mark.parametrize("failing", ["One", "Two"])
@pytest.mark.parametrize("marks", [True, False])
def test_a_unit_of_which_a_segment_fails_needs_translation(stand_in, failing, marks):
    text = XLIFF_1.replace("One.", "One %s.").replace("Two.", "Two %s.")
    translator = stand_in(lambda request: "nichts" if failing in request.source else request.source)
    root, _ = fill(text, translator, marks=marks)
    target = unit(root, 6).find("target")
    assert (target.get("state"), target.get("state-qualifier")) == ("needs-translation", None)
    assert [bool(mark.text) for mark in target] == [failing != "One", failing != "Two"]


def test_of_several_segments_those_that_are_filled_stay(stand_in):
    """The state of their unit does not say which of them a person translated."""
    segment = '<mrk mtype="seg" mid="0">{}</mrk> <mrk mtype="seg" mid="1">{}</mrk></'
    text = XLIFF_1.replace("</seg-source>", "</seg-source><target>" + segment.format("Mein.", "") + "target>")
    root, translated = fill(text, stand_in())
    assert unit(root, 6).find("target").get("state") == "needs-review-translation"
    root, _ = fill(translated.content.decode(), stand_in(lambda request: request.source.upper()), fill="fuzzy")
    assert "".join(unit(root, 6).find("target").itertext()) == "Mein. Two."
    only = segment.partition(" ")[0] + ' mid="0">Zwo.</mrk></'
    source = only.replace("Zwo.", "Two.")
    one = f'<trans-unit id="8"><source>Two.</source><seg-source>{source}seg-source><target state="new">{only}target>'
    root, _ = fill(XLIFF_1.replace("</body>", f"{one}</trans-unit></body>"), stand_in(), fill="fuzzy")
    assert "".join(unit(root, 8).find("target").itertext()) == "Two."


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("marks", [True, False])
def test_what_was_said_of_the_old_translation_goes(stand_in, works, marks):
    translator = stand_in(lambda request: request.source if works else "")
    root, _ = fill(XLIFF_1, translator, fill="all", marks=marks)
    assert "approved" not in unit(root, 2).attrib
    text = XLIFF_2.replace('state="final"', 'state="final" subState="x:read"')
    root, _ = fill(text, translator, fill="all", marks=marks)
    assert not root.xpath("//segment[@subState]")
    root, _ = fill(text, translator, marks=marks)
    assert len(root.xpath("//segment[@subState]")) == 1


def test_protected_terms_are_copied(stand_in):
    root, _ = fill(XLIFF_1, stand_in(lambda request: request.source.replace("The mtkit tool", "Das Werkzeug mtkit")))
    assert "".join(unit(root, 7).find("target").itertext()) == "Das Werkzeug mtkit"
    assert unit(root, 7).find("target/mrk").get("mtype") == "protected"
    root, _ = fill(XLIFF_1, stand_in(lambda request: re.sub("mtkit|[{]0}", "Mtkit", request.source)))
    assert unit(root, 7).find("target").text is None


PAIRS = [
    ('<bx id="1"/>', '<ex id="1"/>'),
    ('<bx id="1" rid="7"/>', '<ex id="2" rid="7"/>'),
    ('<x id="START_BOLD_TEXT" ctype="x-b"/>', '<x id="CLOSE_BOLD_TEXT" ctype="x-b"/>'),
    ('<x id="START_TAG_SPAN_1"/>', '<x id="CLOSE_TAG_SPAN"/>'),
]


@pytest.mark.parametrize(("start", "end"), PAIRS)
def test_both_ends_of_a_pair_go_with_their_words(stand_in, start, end):
    text = XLIFF_1.replace("One. Two.", f"A {start}b <x id='START'/> {start}c{end}{end} d").replace("seg-source", "x")
    segment = next(each for each in read_xliff(text.encode()).segments if each.text.startswith("A "))
    assert [(part.kind, part.pair) for part in segment.protected] == [
        ("open", 1), ("standalone", None), ("open", 0), ("close", 0), ("close", 1),
    ]  # fmt: skip
    text = XLIFF_1.replace("One. Two.", f"A {start}b{end} c d").replace("seg-source", "x")
    root, _ = fill(text, stand_in(lambda request: request.source.replace("A b c d", "A B c d")))
    assert inner(unit(root, 6).find("target")) == f"A {start}B{end} c d"


def test_what_stands_between_two_marks_that_say_no_is_kept(stand_in):
    kept = '<sm id="k" translate="no"/>Foo <pc id="3">Bar</pc> &amp;<em startRef="k"/>'
    text = XLIFF_2.replace(
        "Press ", f'A {kept} <sm id="m" translate="no"/>b <sc id="4"/>c<em startRef="m"/><ec id="4"/> '
    )
    segment = read_xliff(text.encode()).segments[1]
    assert (segment.protected[0].text, segment.protected[0].shown) == (kept, "Foo Bar &")
    # What begins in the second and ends behind it keeps its ends apart.
    assert [part.kind for part in segment.protected[1:5]] == ["open", "open", "close", "close"]
    root, _ = fill(text, stand_in(lambda request: re.sub(r"\b(A|key)\b", "x", request.source)))
    target = unit(root, 3).find(".//target")
    assert inner(target).startswith(f"x {kept} <sm")
    assert "Foo Bar &" in "".join(target.itertext())


@pytest.mark.parametrize("codes", ['<sm id="k" translate="no"/><em startRef="k"/>', '<ec startRef="9"/>'])
def test_pairs_around_nothing_and_ends_without_a_start_are_kept(stand_in, codes):
    root, _ = fill(XLIFF_2.replace("Press ", f"A {codes} "), stand_in())
    assert inner(unit(root, 3).find(".//target")).startswith(f"A {codes} ")


def test_segments_show_elements_as_they_stand():
    segments = read_xliff(XLIFF_1.encode()).segments
    assert segments[0].text == 'Open <g id="1" ctype="bold">the <x id="2"/> file</g> %s <now> & here.'


@pytest.mark.parametrize(("fill_option", "expected"), [("empty", "Spei"), ("fuzzy", "Save"), ("all", "Save")])
def test_what_is_filled_is_a_choice(stand_in, fill_option, expected):
    root, _ = fill(XLIFF_1, stand_in(), fill=fill_option)
    assert unit(root, 3).find("target").text == expected
    assert unit(root, 2).find("target").text == ("Close" if fill_option == "all" else "Schließen")


def test_version_2_has_its_state_on_the_segment(stand_in):
    root, _ = fill(XLIFF_2, stand_in())
    segments = list(root.iter("segment"))
    assert [segment.get("state") for segment in segments] == ["translated", "final", None, "translated"]
    assert [inner(s.find("target")) for s in segments if s.find("target") is not None] == [
        inner(segments[0].find("source")),
        "Schließen",
        inner(segments[3].find("source")),
    ]


def test_what_is_left_is_marked(stand_in):
    root, translated = fill(XLIFF_1, stand_in(lambda request: re.sub(r"%s|[{]\d}", "", request.source)))
    target = unit(root, 1).find("target")
    assert (target.text, target.get("state")) == (None, "needs-translation")
    assert translated.left == ("line 9",)
    root, _ = fill(XLIFF_2, stand_in(lambda request: ""))
    assert [s.get("state") for s in root.iter("segment")] == ["initial", "final", None, "initial"]


def test_text_of_a_translation_is_escaped(stand_in):
    root, _ = fill(XLIFF_2, stand_in(lambda request: f"1 < 2 & 3 \x01{request.source}"))
    assert "".join(root.find(".//segment/target").itertext()).split() == [
        "1",
        "<",
        "2",
        "&",
        "3",
        "Open",
        "the",
        "file.",
    ]


def test_the_target_language_is_said(stand_in):
    root, _ = fill(XLIFF_2.replace(' trgLang="de"', ""), stand_in(), target_language="fr")
    assert root.get("trgLang") == "fr"
    root, _ = fill(XLIFF_1.replace(' target-language="de"', ""), stand_in(), target_language="fr")
    assert root.find("file").get("target-language") == "fr"


def test_other_languages_are_refused():
    with pytest.raises(DataError, match="en to de, the model translates de to en") as caught:
        read_xliff(XLIFF_1.encode(), "a.xlf", DocumentOptions(source_language="de", target_language="en"))
    assert caught.value.at == "a.xlf:4"


@pytest.mark.parametrize(
    ("content", "message", "at"),
    [
        (b"<xliff>\n<file>\n", "not well-formed XML", "a.xlf:3"),
        (b"", "not well-formed XML", "a.xlf"),
        (b"<tmx/>", "no XLIFF 1.2 or 2.0: <tmx>", "a.xlf"),
        (b"<xliff version='3.0'/>", "version 3.0", "a.xlf"),
    ],
)
def test_damage_is_told(content, message, at):
    with pytest.raises(DataError, match=message) as caught:
        read_xliff(content, "a.xlf")
    assert caught.value.at.startswith(at)


def test_nothing_is_fetched_or_resolved(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    text = XLIFF_2.replace("<xliff", f'<!DOCTYPE xliff [<!ENTITY e SYSTEM "{secret.as_uri()}">]>\n<xliff', 1)
    document = read_xliff(text.replace("Open ", "Open &e; ").encode())
    assert "secret" not in document.segments[0].text
    assert b"secret</" not in document.render([None] * len(document.segments))


def test_without_marks_nothing_says_that_a_machine_translated(stand_in):
    text = XLIFF_1.replace('state="needs-review-translation"', 'state="new" state-qualifier="fuzzy-match"')
    root, _ = fill(text, stand_in(), marks=False, fill="fuzzy")
    assert [unit(root, number).find("target").get("state") for number in (1, 3)] == ["translated"] * 2
    assert not root.xpath("//target[@state-qualifier]")


def test_entities_of_the_file_stay(stand_in):
    declared = '<!DOCTYPE xliff [<!ENTITY b "bold"><!ENTITY é "<x/>"><!ENTITY e SYSTEM "file:///none">]>'
    inline = 'A &b;&é; &amp; <pc id="&b;1">dog</pc> <ph id="2">&e; &lt;</ph> &amp;b; runs'
    text = XLIFF_2.replace("<xliff", f"{declared}<xliff", 1).replace("Press ", inline)
    assert translate_document(read_xliff(text.encode()), stand_in()).content.decode().count(inline) == 2
    text = XLIFF_1.replace("<xliff", f"{declared}<xliff", 1).replace("One.</mrk> ", "One &b;.</mrk> &b; ")
    content = translate_document(read_xliff(text.encode()), stand_in()).content.decode()
    assert content.count("One &b;.</mrk> &b; <mrk") == 2
