import re
from pathlib import Path

import pytest

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus import tmx_pairs
from mtkit.corpus.manifest import read_manifest
from mtkit.corpus.prepare import prepare_corpus
from mtkit.corpus.readers import iter_pairs
from mtkit.corpus.reading import Reading
from mtkit.corpus.translation_memory import read_languages
from mtkit.errors import DataError, RecipeError

CATALOG = r"""
msgid ""
msgstr ""
"Language: de\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

msgid "Open %s"
msgstr "%s öffnen"

msgid "A\nbroken line"
msgstr "Eine\ngebrochene Zeile"

msgid "One.\n\nTwo."
msgstr "Eins.\n\nZwei."

msgid "Three.\n\nFour."
msgstr "Drei und vier."

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] "%d Dateien"

#, fuzzy
msgid "Guessed"
msgstr "Geraten"

msgid "Missing"
msgstr ""

#~ msgid "Old"
#~ msgstr "Alt"
"""
CATALOG_PAIRS = [
    ("Open %s", "%s öffnen"),
    ("A broken line", "Eine gebrochene Zeile"),
    ("One.", "Eins."),
    ("Two.", "Zwei."),
    ("Three. Four.", "Drei und vier."),
    ("%d file", "%d Datei"),
    ("%d files", "%d Dateien"),
]
PLURALS = r"""
msgid ""
msgstr ""
"Language: sr@latin\n"
"Content-Type: text/plain; charset=CHARSET\n"

msgid "%d day"
msgid_plural "%d days"
msgstr[0] "%d dan"
msgstr[1] "%d dana"
msgstr[2] "%d danâ"

msgid "%d hour"
msgid_plural "%d hours"
msgstr[0] "%d sat"
msgstr[1] ""
msgstr[2] "%d sati"
"""
MEMORY = """<tmx version="1.4"><header srclang="en"/><body>
<tu><tuv xml:lang="en-US"><seg>Press <bpt i="1">&lt;b></bpt>this<ept i="1"/>
 key<ph>x</ph></seg></tuv><tuv xml:lang="de"><seg>Taste</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>One</seg></tuv></tu>
<tu><tuv lang="EN"><seg>Two</seg></tuv><tuv lang="fr"><seg>Deux</seg></tuv><tuv lang="DE"><seg>Zwei</seg></tuv></tu>
</body></tmx>"""
XLIFF_1 = """<xliff xmlns="urn:oasis:names:tc:xliff:document:1.2" version="1.2">
<file source-language="en-US" target-language="de-DE"><body>
<trans-unit id="1"><source>Open <g id="1">this</g> &amp; that</source>
<target>Öffne <g id="1">dies</g></target></trans-unit>
<trans-unit id="2"><source>Close</source><target state="needs-review-translation">Zu</target></trans-unit>
<trans-unit id="3"><source>Save</source></trans-unit>
<trans-unit id="4"><source>Out</source><target state="final">Aus</target></trans-unit>
</body></file></xliff>"""
XLIFF_2 = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en" trgLang="de"><file id="f">
<unit id="1"><segment state="final"><source>Open <pc id="1">this</pc></source><target>Öffne dies</target></segment>
<segment state="initial"><source>Close</source><target>Zu</target></segment><segment><source>Save</source></segment>
</unit>
</file></xliff>"""


def read(path, languages=("en", "de"), chunk_pairs=2, reading=None):
    chunks = iter_pairs(TextSource(path=path), "train", languages, reading or Reading(), chunk_pairs)
    return [pair for sources, targets in chunks for pair in zip(sources, targets, strict=True)]


@pytest.mark.parametrize(
    ("name", "text", "languages"),
    [
        ("a.po", CATALOG, (None, "de")),
        ("a.po", CATALOG.replace("Language: de", "Language: pt_BR"), (None, "pt-BR")),
        ("a.po", 'msgid "a"\nmsgstr "b"\n', (None, None)),
        ("a.tmx", MEMORY, ("en", None)),
        ("a.tmx", MEMORY.replace('<tuv lang="fr"><seg>Deux</seg></tuv>', "").lower(), ("en", "de")),
        ("a.tmx", MEMORY.replace('<tuv lang="fr"><seg>Deux</seg></tuv>', ""), ("en", "de")),
        ("a.tmx", MEMORY.replace('srclang="en"', 'srclang="*all*"'), (None, None)),
        ("a.xlf", XLIFF_1, ("en-US", "de-DE")),
        ("a.xliff", XLIFF_2, ("en", "de")),
        ("a.sdlxliff", XLIFF_1, ("en-US", "de-DE")),
        ("a.MQXLIFF", XLIFF_1, ("en-US", "de-DE")),
    ],
)
def test_what_a_file_tells_of_its_languages(write, name, text, languages):
    assert read_languages(write(name, text)) == languages


def test_catalogs(write):
    reading = Reading()
    assert read(write("a.po", CATALOG), reading=reading) == CATALOG_PAIRS
    assert reading.left_out == {"fuzzy": 1, "untranslated": 1, "obsolete": 1}


def test_of_a_plural_message_the_first_form_and_the_last_are_taken(write):
    reading = Reading()
    pairs = read(write("a.po", PLURALS), ("en", "sr"), reading=reading)
    assert pairs == [("%d day", "%d dan"), ("%d days", "%d danâ")]
    assert reading.left_out == {"untranslated": 1}
    one = PLURALS.replace('msgstr[1] "%d dana"\nmsgstr[2] "%d danâ"\n', "")  # as of Japanese
    assert read(write("b.po", one), ("en", "sr"))[0] == ("%d days", "%d dan")
    assert read_languages(write("c.po", PLURALS)) == (None, "sr")


def test_a_catalog_of_the_source_language_is_swapped(write):
    assert read(write("a.po", CATALOG), ("de", "en")) == [pair[::-1] for pair in CATALOG_PAIRS]


def test_what_is_not_known_does_not_make_another_language_fit(write):
    with pytest.raises(DataError, match=r"\? to de, the corpus \? to fr"):
        read(write("a.po", CATALOG), (None, "fr"))
    with pytest.raises(DataError, match=r"\? to de, the corpus en to fr"):
        read(write("a.po", CATALOG), ("en", "fr"))
    assert read(write("a.po", CATALOG), (None, "de")) == CATALOG_PAIRS
    assert read(write("a.po", CATALOG), ("de", None)) == [pair[::-1] for pair in CATALOG_PAIRS]
    assert read(write("a.po", CATALOG), ("en", None)) == CATALOG_PAIRS


def test_languages_that_nobody_knows_are_taken_as_they_are(write):
    assert read(write("a.po", CATALOG), (None, None)) == CATALOG_PAIRS
    assert read(write("a.po", CATALOG.replace("Language: de", "X: y"))) == CATALOG_PAIRS


def test_compressed_and_whole(write, tmp_path):
    import gzip

    (tmp_path / "a.po.gz").write_bytes(gzip.compress(CATALOG.encode()))
    assert read(tmp_path / "a.po.gz", chunk_pairs=100) == CATALOG_PAIRS


def test_translation_memories(write):
    path = write("a.tmx", MEMORY)
    reading = Reading()
    assert read(path, reading=reading) == [("Press this key", "Taste"), ("Two", "Zwei")]
    assert reading.left_out == {"without one of the languages": 1}
    assert read(path, ("fr", "de")) == [("Deux", "Zwei")]
    two = write("b.tmx", MEMORY.replace('<tuv lang="fr"><seg>Deux</seg></tuv>', ""))
    assert read(two, (None, None)) == [("Press this key", "Taste"), ("Two", "Zwei")]


def test_units_of_a_memory_with_an_empty_side_are_left_out(write):
    empty = '<tu><tuv xml:lang="en"><seg>Three</seg></tuv><tuv xml:lang="de"><seg> </seg></tuv></tu>'
    lacking = '<tu><tuv xml:lang="en"/><tuv xml:lang="de"><seg>Vier</seg></tuv></tu>'
    reading = Reading()
    pairs = read(write("a.tmx", MEMORY.replace("</body>", f"{empty}{lacking}</body>")), reading=reading)
    assert pairs == [("Press this key", "Taste"), ("Two", "Zwei")]
    assert reading.left_out == {"without one of the languages": 2, "untranslated": 1}


def test_a_memory_that_tells_no_source_language_has_that_of_its_units_or_their_first(write):
    two = MEMORY.replace('<tuv lang="fr"><seg>Deux</seg></tuv>', "").replace('srclang="en"', 'srclang="*all*"')
    assert read(write("a.tmx", two), (None, None)) == [("Press this key", "Taste"), ("Two", "Zwei")]
    turned = two.replace("<tu>", '<tu srclang="de">')
    assert read(write("b.tmx", turned), (None, None)) == [("Taste", "Press this key"), ("Zwei", "Two")]


@pytest.mark.parametrize("suffix", [".tmx", ".xlf"])
def test_no_other_file_is_read_into_a_text(write, suffix):
    secret = write("secret.txt", "secret")
    entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}"> <!ENTITY i "inner">]>'
    text = MEMORY.replace("Taste", "Taste &e; &i;") if suffix == ".tmx" else XLIFF_1.replace("Aus<", "Aus &e; &i;<")
    targets = [target for _, target in read(write(f"a{suffix}", entity + text))]
    assert ("Taste &e; &i;" if suffix == ".tmx" else "Aus &e; &i;") in targets


def test_a_memory_is_read_unit_by_unit(write):
    unit = '<tu><tuv lang="en"><seg>{0}</seg></tuv><!-- {0} --><tuv lang="de"><seg>{0}.</seg></tuv></tu>\n<!-- x -->'
    units = "".join(unit.format(number) for number in range(3000))
    path = write("a.tmx", f'<tmx><header srclang="en"/><body>{units}</body></tmx>')
    assert read(path) == [(str(number), f"{number}.") for number in range(3000)]
    assert max(len(unit.getparent()) for unit, _ in tmx_pairs._iter_units(path)) < 1000  # of a block of 32 KB


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_memories_as_programs_write_them(tmp_path, encoding):
    """Trados writes UTF-16, others a byte order mark, and most name a document type that is nowhere to be had."""
    head = f'<?xml version="1.0" encoding="{encoding[:6].rstrip("-")}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    (tmp_path / "a.tmx").write_bytes((head + MEMORY).encode(encoding))
    assert read(tmp_path / "a.tmx") == [("Press this key", "Taste"), ("Two", "Zwei")]


def test_another_kind_of_xml_is_no_memory(write):
    with pytest.raises(DataError, match="no TMX: <html>"):
        read(write("a.tmx", "<html/>"))


def test_the_document_inside_an_xliff_file_does_not_matter(write):
    """Of Trados' files it is most of the size, and lxml takes no text of more than 10 MB."""
    original = f'<header><skl><internal-file form="base64">{"UEsD" * 3_000_000}\n</internal-file></skl></header><body>'
    assert read(write("a.xlf", XLIFF_1.replace("<body>", original))) == read(write("b.xlf", XLIFF_1))


@pytest.mark.parametrize("depth", [10, 300, 100_000])
@pytest.mark.parametrize("size", [10, 11_000_000])
def test_elements_that_lie_too_deep_in_each_other_are_refused(write, depth, size):
    body = f"<body><note>{'a' * size}</note>" + "<group>" * depth + "</group>" * depth
    path = write("a.xlf", XLIFF_1.replace("<body>", body))
    if depth == 10:
        assert read(path) == read(write("b.xlf", XLIFF_1))
    else:
        with pytest.raises(DataError, match=r"[Dd]epth|more than 256 deep"):
            read(path)


@pytest.mark.parametrize("languages", [(None, None), ("en", None), (None, "de")])
def test_a_memory_of_several_languages_wants_to_know_which(write, languages):
    with pytest.raises(DataError, match="several languages: de, en, fr"):
        read(write("a.tmx", MEMORY), languages)


@pytest.mark.parametrize(
    ("name", "text"), [("a.xlf", XLIFF_1), ("a.xlf", XLIFF_2), ("a.sdlxliff", XLIFF_1), ("a.mqxliff", XLIFF_1)]
)
def test_xliff(write, name, text):
    path = write(name, text)
    reading = Reading()
    pairs = read(path, reading=reading)
    assert pairs[0][1] == "Öffne dies"
    assert pairs[0][0].startswith("Open this")
    assert ("Close", "Zu") not in pairs
    new = text.replace('state="final">', 'state="new">')
    assert len(read(write("new.xlf", new))) == len(pairs) - 1
    assert reading.left_out == {"in need of review": 1, "untranslated": 1}
    assert read(path, ("de", "en")) == [pair[::-1] for pair in pairs]


@pytest.mark.parametrize(("name", "text"), [("a.po", CATALOG), ("a.xlf", XLIFF_1), ("a.xliff", XLIFF_2)])
def test_other_languages_are_refused(write, name, text):
    with pytest.raises(DataError, match="the corpus en to fr"):
        read(write(name, text), ("en", "fr"))


@pytest.mark.parametrize("name", ["a.po", "a.pot", "a.tmx", "a.xlf", "a.xliff"])
def test_damage_is_told_with_its_place(write, name):
    with pytest.raises(DataError) as caught:
        read(write(name, "\n\nnonsense"))

    assert name in caught.value.at


@pytest.mark.parametrize(
    ("name", "content"), [("a.po", 'msgid "a"\nmsgstr ""\n'), ("a.tmx", "<tmx/>"), ("a.xlf", '<xliff version="1.2"/>')]
)
def test_a_file_without_pairs_is_told(write, capsys, name, content):
    """Of many catalogs some are untranslated; one that is to test with must not be."""
    path = write(name, content)
    assert read(path) == []
    assert f"{path}: no pairs in it" in capsys.readouterr().err
    with pytest.raises(DataError, match="there are no pairs in it"):
        list(iter_pairs(TextSource(path=path), "test", ("en", "de"), Reading()))


def test_what_is_left_out_of_a_given_set_is_told(write, files, vocabulary, tmp_path):
    test = TextSource(path=write("a.po", CATALOG))
    prepared = prepare_corpus(CorpusSection(train=[files], test=test, valid_size=30), vocabulary, tmp_path / "out")
    assert len(prepared.test) == len(CATALOG_PAIRS)
    assert prepared.manifest.warnings == [
        f"test set: 1 pairs left out: {reason}" for reason in ("fuzzy", "untranslated", "obsolete")
    ]


def test_what_stands_behind_comments_and_codes_is_text(write):
    unit = (
        '<trans-unit id="9"><source>a<!-- b --> c<x id="1"/> d</source><target>e<?f g?> h</target></trans-unit></body>'
    )
    assert read(write("a.xlf", XLIFF_1.replace("</body>", unit)))[-1] == ("a c d", "e h")


@pytest.mark.parametrize("version", ["12", "3.0", ""])
def test_another_version_of_xliff_is_refused(write, version):
    with pytest.raises(DataError, match=r"no XLIFF 1\.2 or 2\.0"):
        read(write("a.xlf", XLIFF_1.replace('version="1.2"', f'version="{version}"')))


def test_xliff_counts_what_has_no_source(write):
    unit = '<trans-unit id="9"><source/><target>Nichts</target></trans-unit></body>'
    reading = Reading()
    read(write("a.xlf", XLIFF_1.replace("</body>", unit)), reading=reading)
    assert reading.left_out["without a source"] == 1


@pytest.mark.parametrize(
    ("target", "pairs", "left_out"),
    [
        ("", [], {"untranslated": 2}),
        ('<target><mrk mtype="seg" mid="0">Eins.</mrk></target>', [("One.", "Eins.")], {"untranslated": 1}),
        (
            '<target><mrk mtype="seg" mid="1">Zwei.</mrk> <g id="1"><mrk mtype="seg" mid="0">Eins.</mrk></g></target>',
            [("One.", "Eins."), ("Two.", "Zwei.")],
            {},
        ),
        ("<target>Eins. Zwei.</target>", [("One. Two.", "Eins. Zwei.")], {}),
        ('<target><mrk mtype="seg" mid="0">Eins</mrk> und zwei.</target>', [("One. Two.", "Eins und zwei.")], {}),
        (
            '<target><mrk mtype="seg" mid="0">Ei</mrk><mrk mtype="seg" mid="0_1">ns.</mrk> '
            '<mrk mtype="seg" mid="1">Zwei.</mrk></target>',
            [("One. Two.", "Eins. Zwei.")],
            {},
        ),
        (
            '<target><mrk mtype="seg" mid="0">Ei</mrk><mrk mtype="seg" mid="0_1">ns.</mrk> '
            '<mrk mtype="seg" mid="1"/></target>',
            [],
            {"untranslated": 1},
        ),
        (
            '<target>1. <mrk mtype="seg" mid="0">Eins.</mrk> – <mrk mtype="seg" mid="1"/></target>',
            [("One.", "Eins.")],
            {"untranslated": 1},
        ),
        (
            '<target state="needs-translation"><mrk mtype="seg" mid="0">Eins.</mrk></target>',
            [],
            {"in need of review": 1, "untranslated": 1},
        ),
    ],
)
def test_xliff_pairs_segment_with_segment(write, target, pairs, left_out):
    """Of what CAT tools divide, a part may be translated."""
    source = '<mrk mtype="seg" mid="0">One.</mrk> <g id="1"><mrk mtype="seg" mid="1">Two.</mrk></g>'
    unit = f"<trans-unit id='9'><source>One. Two.</source><seg-source>{source}</seg-source>{target}</trans-unit>"
    reading = Reading()
    assert read(write("a.xlf", re.sub("(?s)<trans-unit.*</trans-unit>", unit, XLIFF_1)), reading=reading) == pairs
    assert reading.left_out == left_out


@pytest.mark.parametrize("mid", ["", ' mid="1"'])
def test_segments_without_a_number_of_their_own_are_one_pair(write, mid):
    side = f'<mrk mtype="seg"{mid}>{{}}</mrk> <mrk mtype="seg"{mid}>{{}}</mrk>'
    source, target = side.format("One.", "Two."), side.format("Eins.", "Zwei.")
    unit = f"<trans-unit><source>One. Two.</source><seg-source>{source}</seg-source><target>{target}</target>"
    text = re.sub("(?s)<trans-unit.*</trans-unit>", f"{unit}</trans-unit>", XLIFF_1)
    assert read(write("a.xlf", text)) == [("One. Two.", "Eins. Zwei.")]


@pytest.mark.parametrize(
    ("text", "old", "new", "reason"),
    [
        (XLIFF_1, '<target state="final">', '<target state="translated" state-qualifier="mt-suggestion">', "machine"),
        (XLIFF_1, '<target state="final">', '<target state-qualifier="leveraged-mt">', "machine"),
        (XLIFF_1, '<target state="final">', '<target state="final" state-qualifier="mt-suggestion">', None),
        (XLIFF_1, 'id="4"', 'id="4" translate="no"', "not to be translated"),
        (XLIFF_1, "<file ", '<file translate="no" ', "not to be translated"),
        (XLIFF_2, '<unit id="1"', '<unit id="1" translate="no"', "not to be translated"),
        (MEMORY, '<tuv lang="DE"', '<tuv lang="DE" creationtool="mtkit"', "machine"),
        (MEMORY, '<tuv lang="DE"', '<tuv lang="DE" creationtool="mtkit" changeid="ann"', None),
        (MEMORY, '<tuv lang="DE"', '<tuv lang="DE" creationtool="another"', None),
    ],
)
def test_what_a_machine_or_nobody_translated_is_left_out(write, text, old, new, reason):
    name = "a.tmx" if text is MEMORY else "a.xlf"
    reading, before = Reading(), Reading()
    pairs = read(write(name, text), reading=before)
    found = read(write(name, text.replace(old, new)), reading=reading)
    told = [key for key in reading.left_out if reason and reason in key]
    assert len(told) == bool(reason)
    assert len(found) < len(pairs) if reason else found == pairs
    assert len(found) + reading.left_out.total() == len(pairs) + before.left_out.total()


def test_wildcards_stand_for_the_files_that_match(write, tmp_path):
    files = [write(f"{name}/locale/de/a.po", CATALOG) for name in ("x", "y")]
    write("x/locale/fr/a.po", CATALOG)
    pattern = tmp_path / "**" / "de" / "*.po"
    section = CorpusSection(train=[TextSource(path=pattern, name="catalogs"), TextSource(path="b.tsv")])
    assert [source.path for source in section.train] == [*files, Path("b.tsv")]
    assert [source.label for source in section.train] == ["catalogs", "catalogs", "b.tsv"]
    assert CorpusSection.model_validate(section.model_dump()) == section


def test_prepare_refuses_catalogs_of_several_languages(write, vocabulary, tmp_path):
    write("po/de.po", CATALOG)
    write("po/fr.po", CATALOG.replace("Language: de", "Language: fr"))
    section = CorpusSection(train=[TextSource(path=tmp_path / "po" / "*.po")], source_language="de")
    with pytest.raises(DataError, match="catalogs of several languages"):
        prepare_corpus(section, vocabulary, tmp_path / "out")


def test_wildcards_that_match_nothing_stay(write, tmp_path):
    section = CorpusSection(train=[TextSource(path=tmp_path / "*.po")])
    assert [source.path for source in section.train] == [tmp_path / "*.po"]
    odd = write("a[1].po", CATALOG)
    write("a1.po", CATALOG)  # what it would match
    assert [source.path for source in CorpusSection(train=[TextSource(path=odd)]).train] == [odd]


def test_files_that_match_come_in_the_order_of_their_names_and_without_folders(write, tmp_path, monkeypatch):
    """The file system may tell them in any order, and the corpus is to be the same on every machine."""
    files = [write(f"{name}.po", CATALOG) for name in "abc"]
    (tmp_path / "folder.po").mkdir()
    told = [str(path) for path in (files[1], tmp_path / "folder.po", files[2], files[0])]
    monkeypatch.setattr("mtkit.config.corpus.glob", lambda *_, **__: told)
    section = CorpusSection(train=[TextSource(path=tmp_path / "*.po")])
    assert [source.path for source in section.train] == files


def test_without_the_packages_the_extra_is_named(write, monkeypatch):
    import sys

    for package, name, text in (("polib", "a.po", CATALOG), ("lxml", "a.tmx", MEMORY)):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(RecipeError) as caught:
            read(write(name, text))
        assert caught.value.fix == 'install it: pip install "mtkit[formats]"'


def test_real_catalogs(shared_corpora):
    for name in ("django-core", "sphinx"):
        pairs = read(shared_corpora / "po" / f"{name}.de.po")
        assert len(pairs) > 100
        assert not any("\n" in text for pair in pairs for text in pair)


def test_prepare_counts_what_is_left_out_and_learns_the_language(write, tmp_path):
    entries = "".join(f'\nmsgid "Open file {i}"\nmsgstr "Datei {i} öffnen"\n' for i in range(40))
    path = write("a.po", CATALOG + entries)
    section = CorpusSection(train=[TextSource(path=path)], source_language="en", valid_size=2, test_size=2)
    prepare_corpus(section, VocabularySection(size=60), tmp_path / "corpus", threads=1)
    manifest = read_manifest(tmp_path / "corpus")
    assert (manifest.source_language, manifest.target_language) == ("en", "de")
    assert manifest.pairs_read == 50
    assert {"fuzzy": 1, "untranslated": 1, "obsolete": 1}.items() <= manifest.dropped.items()


def test_of_a_catalog_that_is_only_read_old_messages_and_escapes_do_not_matter(write):
    old = '\n#~ msgid "old\\x41"\n#~ msgstr "alt\n\n#| msgid "before\\q\nmsgid "Now\\a"\nmsgstr "Jetzt"\n'
    assert read(write("a.po", CATALOG + old))[-1][1] == "Jetzt"
