import re

import pytest
from lxml import etree

from mtkit.documents.options import DocumentOptions
from mtkit.documents.pipeline import translate_document
from mtkit.documents.tmx import read_tmx
from mtkit.errors import DataError

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
MEMORY = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4">
  <header creationtool="x" segtype="sentence" adminlang="en" srclang="en-US" datatype="plaintext" o-tmf="x">
    <prop type="kept">yes</prop>
  </header>
  <body>
    <tu tuid="1">
      <note>kept</note>
      <tuv xml:lang="en-US">
        <seg>Press <bpt i="1">&lt;b&gt;</bpt>this<ept i="1">&lt;/b&gt;</ept> <ph>{0}</ph> key, %s &amp; more.</seg>
      </tuv>
    </tu>
    <tu tuid="2">
      <tuv xml:lang="en-US"><seg>Close</seg></tuv>
      <tuv xml:lang="de-DE"><seg>Schließen</seg></tuv>
    </tu>
    <tu tuid="3">
      <tuv xml:lang="fr"><seg>Fermer</seg></tuv>
      <tuv xml:lang="en-US"><seg>Close it</seg></tuv>
      <tuv xml:lang="de"><seg></seg></tuv>
    </tu>
    <tu tuid="4"><tuv xml:lang="fr"><seg>Ouvrir</seg></tuv></tu>
  </body>
</tmx>
"""


def fill(translator, **options):
    given = {"source_language": "en", "target_language": "de"} | options
    translated = translate_document(read_tmx(MEMORY.encode(), "a.tmx", DocumentOptions(**given)), translator)
    return etree.fromstring(translated.content), translated


def variants(root, number):
    return {v.get(LANG): v for v in root.find(f".//tu[@tuid='{number}']").iter("tuv")}


def test_untouched_it_is_what_lxml_writes():
    document = read_tmx(MEMORY.encode(), "a.tmx", DocumentOptions(target_language="de"))
    written = etree.tostring(etree.fromstring(MEMORY.encode()).getroottree(), encoding="unicode")
    assert document.render([None] * len(document.segments)).decode() == f"{MEMORY.partition('<!DOCTYPE')[0]}{written}\n"


def test_missing_variants_are_added_and_empty_ones_filled(stand_in):
    root, translated = fill(stand_in())
    source, target = variants(root, 1)["en-US"].find("seg"), variants(root, 1)["de"].find("seg")
    assert etree.tostring(target).strip() == etree.tostring(source).strip()
    assert variants(root, 1)["de"].get("creationtool") == "mtkit"
    assert variants(root, 3)["de"].find("seg").text == "Close it"
    assert (translated.summary.num_segments, translated.summary.num_filled) == (2, 2)


def test_nothing_else_changes(stand_in):
    root, translated = fill(stand_in())
    assert list(variants(root, 2)) == ["en-US", "de-DE"]
    assert variants(root, 2)["de-DE"].find("seg").text == "Schließen"
    assert list(variants(root, 4)) == ["fr"]
    for line in MEMORY.splitlines()[1:]:
        assert 'de"><seg></seg>' in line or line.encode() in translated.content


def test_added_variants_stand_on_lines_of_their_own(stand_in):
    _, translated = fill(stand_in())
    assert b'      </tuv>\n      <tuv xml:lang="de" creationtool="mtkit">\n        <seg>Press' in translated.content


@pytest.mark.parametrize(("there", "wanted", "expected"), [("de-DE", "de", "de-DE"), ("de-DE", "de-AT", "de-AT")])
def test_added_variants_name_their_language_as_others_do(stand_in, there, wanted, expected):
    content = MEMORY.replace('xml:lang="de-DE"', 'xml:lang="de"').replace('xml:lang="de"', f'xml:lang="{there}"')
    options = DocumentOptions(source_language="en", target_language=wanted)
    translated = translate_document(read_tmx(content.encode(), "a.tmx", options), stand_in())
    assert expected in variants(etree.fromstring(translated.content), 1)


def test_all_are_filled_if_asked(stand_in):
    root, _ = fill(stand_in(), fill="all", marks=False)
    assert variants(root, 2)["de-DE"].find("seg").text == "Close"
    assert variants(root, 2)["de-DE"].get("creationtool") is None


def test_what_is_left_gets_no_variant(stand_in):
    root, translated = fill(stand_in(lambda request: re.sub(r"%s|[{]\d}", "", request.source)))
    assert list(variants(root, 1)) == ["en-US"]
    assert translated.summary.left == 1


def test_the_target_language_must_be_known():
    with pytest.raises(DataError, match="into which language"):
        read_tmx(MEMORY.encode(), "a.tmx", DocumentOptions())


def test_damage_is_told():
    with pytest.raises(DataError, match="not well-formed") as caught:
        read_tmx(MEMORY.replace("</tu>", "", 1).encode(), "a.tmx", DocumentOptions(target_language="de"))
    assert caught.value.at.startswith("a.tmx:")
    with pytest.raises(DataError, match="no TMX"):
        read_tmx(b"<x/>", "a.tmx", DocumentOptions(target_language="de"))


def test_an_empty_source_gets_no_variant(stand_in):
    memory = MEMORY.replace("<seg>Close it</seg>", "<seg/>")
    document = read_tmx(memory.encode(), "a.tmx", DocumentOptions(target_language="de", fill="all"))
    translated = translate_document(document, stand_in())
    assert translated.summary.num_filled == translated.summary.num_segments == 2
    filled = [
        v.getparent().get("tuid") for v in etree.fromstring(translated.content).iter("tuv") if v.get("creationtool")
    ]
    assert filled == ["1", "2"]


def test_entities_of_the_file_stay(stand_in):
    memory = MEMORY.replace('SYSTEM "tmx14.dtd"', '[<!ENTITY b "bold">]').replace("Press ", "Press &b; ")
    document = read_tmx(memory.encode(), "a.tmx", DocumentOptions(source_language="en", target_language="de"))
    content = translate_document(document, stand_in()).content.decode()
    assert content.count('<!ENTITY b "bold">') == 1
    assert content.count("<seg>Press &b; <bpt") == 2


@pytest.mark.parametrize("marks", [True, False])
def test_who_made_the_old_translation_is_not_said_of_the_new_one(stand_in, marks):
    history = 'creationtool="x" creationtoolversion="1" creationid="ann" creationdate="20260101T000000Z" changeid="bob"'
    text = MEMORY.replace('<tuv xml:lang="de-DE">', f'<tuv xml:lang="de-DE" {history} usagecount="3">')
    for fill_option, expected in (("empty", 7), ("all", 2 + marks)):
        options = DocumentOptions(source_language="en", target_language="de", fill=fill_option, marks=marks)
        content = translate_document(read_tmx(text.encode(), "a.tmx", options), stand_in()).content
        variant = variants(etree.fromstring(content), 2)["de-DE"]
        assert len(variant.attrib) == expected
        assert variant.get("usagecount") == "3"
