import gzip
import re

import polib
import pytest

from mtkit.corpus.gettext_files import read_catalog
from mtkit.decoding.translation import Alternative, Translation
from mtkit.documents.accelerators import put_accelerator, take_accelerator
from mtkit.documents.options import DocumentOptions
from mtkit.documents.pipeline import translate_document
from mtkit.documents.plurals import find_rule, parse_plural_forms
from mtkit.documents.po import read_po
from mtkit.errors import DataError

HEADER = r"""# A comment of the header.
# Another one.
msgid ""
msgstr ""
"Project-Id-Version: example 1.0\n"
"Language: {language}\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: {plurals}\n"
"""
MESSAGES = r"""
# A translator's comment.
#. A comment of the program.
#: src/a.c:1 src/b.c:22
#, c-format
msgctxt "menu"
msgid "Open %s"
msgstr ""

msgid "Close"
msgstr "Schließen"

#, fuzzy
#| msgid "Sav"
msgid "Save"
msgstr "Spei"

#, c-format
msgid "%d file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

msgid ""
"A long message that stands on two lines of the file, since it is longer than "
"one line.\n"
"\n"
"And it has a second paragraph, with \"quotes\" and a \\ in it.\n"
msgstr ""

#~ msgid "Old"
#~ msgstr "Alt"
"""
GERMAN = HEADER.format(language="de", plurals="nplurals=2; plural=(n != 1);") + MESSAGES


def fill(text, translator, **options):
    """Return the filled catalog as text and as polib reads it."""
    translated = translate_document(read_po(text.encode(), "a.po", DocumentOptions(**options)), translator)
    content = translated.content.decode()
    return content, polib.pofile(content)


def find(catalog, msgid):
    return next(entry for entry in catalog if entry.msgid == msgid)


def upper(request):
    return " ".join(word if "%" in word else word.upper() for word in request.source.split())


def test_untouched_it_is_what_polib_writes():
    document = read_po(GERMAN.encode())
    assert document.render([None] * len(document.segments)).decode() == str(polib.pofile(GERMAN))


def test_empty_messages_are_filled_and_nothing_else(stand_in):
    text, catalog = fill(GERMAN, stand_in(upper))
    before = polib.pofile(GERMAN)
    assert find(catalog, "Open %s").msgstr == "OPEN %s"
    assert find(catalog, "Close").msgstr == "Schließen"
    assert find(catalog, "Save").msgstr == "Spei"
    assert find(catalog, "%d file").msgstr_plural == {0: "%d FILE", 1: "%d FILES"}
    for entry, old in zip(catalog, before, strict=True):
        for name in ("msgid", "msgctxt", "comment", "tcomment", "occurrences", "previous_msgid", "obsolete"):
            assert getattr(entry, name) == getattr(old, name)
        assert entry.fuzzy == (entry.msgid not in ("Close", "Old"))
        assert set(entry.flags) - {"fuzzy"} == set(old.flags) - {"fuzzy"}
    assert (catalog.header, catalog.metadata) == (before.header, before.metadata)
    assert "#, fuzzy, c-format" in text


def test_paragraphs_are_translated_one_by_one(stand_in):
    translator = stand_in()
    _, catalog = fill(GERMAN, translator)
    entry = next(entry for entry in catalog if entry.msgid.startswith("A long"))
    assert entry.msgstr == entry.msgid
    assert [r.source[:7] for r in translator.requests if "file, since" in r.source or "second" in r.source] == [
        "A long ",
        "And it ",
    ]


@pytest.mark.parametrize(
    ("options", "save", "close", "fuzzy"),
    [
        ({"fill": "fuzzy"}, "SAVE", "Schließen", {"Open %s", "Save", "%d file"}),
        ({"fill": "all"}, "SAVE", "CLOSE", {"Open %s", "Save", "%d file", "Close"}),
        ({"fill": "all", "marks": False}, "SAVE", "CLOSE", set()),
        ({"marks": False}, "Spei", "Schließen", {"Save"}),
    ],
)
def test_what_is_filled_and_marked_is_a_choice(stand_in, options, save, close, fuzzy):
    _, catalog = fill(GERMAN, stand_in(upper), **options)
    assert (find(catalog, "Save").msgstr, find(catalog, "Close").msgstr) == (save, close)
    assert {entry.msgid for entry in catalog if entry.fuzzy and len(entry.msgid) < 20} == fuzzy
    assert find(catalog, "Old").msgstr == "Alt"


@pytest.mark.parametrize(
    ("language", "plurals", "expected"),
    [
        ("ja", "nplurals=1; plural=0;", ["%D FILES"]),
        ("fr", "nplurals=2; plural=(n > 1);", ["%D FILE", "%D FILES"]),
        (
            "ru",
            "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);",
            ["%D FILE", "%D FILES", "%D FILES"],
        ),
    ],
)
def test_plural_forms_are_those_of_the_target(stand_in, language, plurals, expected):
    text = HEADER.format(language=language, plurals=plurals) + MESSAGES
    _, catalog = fill(text, stand_in(upper))
    forms = find(catalog, "%d file").msgstr_plural
    assert [forms[i].upper() for i in range(len(forms))] == expected


def test_a_form_for_21_too_does_not_lose_the_number(stand_in):
    rule = find_rule("ru")
    plural = '\nmsgid "One file"\nmsgid_plural "%d files"\nmsgstr[0] ""\nmsgstr[1] ""\nmsgstr[2] ""\n'
    _, catalog = fill(HEADER.format(language="ru", plurals=rule) + plural, stand_in())
    assert set(find(catalog, "One file").msgstr_plural.values()) == {"%d files"}
    _, catalog = fill(HEADER.format(language="de", plurals=find_rule("de")) + plural, stand_in())
    assert find(catalog, "One file").msgstr_plural == {0: "One file", 1: "%d files"}


def test_a_form_that_is_there_stays(stand_in):
    plural = '\nmsgid "%d file"\nmsgid_plural "%d files"\nmsgstr[0] "%d Datei"\nmsgstr[1] ""\n'
    _, catalog = fill(HEADER.format(language="de", plurals=find_rule("de")) + plural, stand_in())
    assert find(catalog, "%d file").msgstr_plural == {0: "%d Datei", 1: "%d files"}


def test_the_rule_of_a_catalog_stays(stand_in):
    rule = "nplurals=2; plural=(n > 1);"
    _, catalog = fill(HEADER.format(language="de", plurals=rule) + MESSAGES, stand_in(), target_language="de")
    assert catalog.metadata["Plural-Forms"] == rule


def test_where_the_model_names_no_language_the_catalog_does(stand_in):
    _, catalog = fill(HEADER.format(language="pl", plurals="") + MESSAGES, stand_in())
    assert len(find(catalog, "%d file").msgstr_plural) == 3


def test_a_template_gets_language_and_plural_forms(stand_in):
    template = HEADER.format(language="", plurals="nplurals=INTEGER; plural=EXPRESSION;").replace("UTF-8", "CHARSET")
    _, catalog = fill(template + MESSAGES, stand_in(), target_language="pl")
    assert catalog.metadata["Language"] == "pl"
    assert catalog.metadata["Plural-Forms"] == find_rule("pl")
    assert catalog.metadata["Content-Type"] == "text/plain; charset=UTF-8"
    assert len(find(catalog, "%d file").msgstr_plural) == 3
    _, catalog = fill(template + MESSAGES, stand_in(), target_language="pt-BR")
    assert catalog.metadata["Language"] == "pt_BR"


def test_what_loses_a_placeholder_stays_empty_and_is_marked(stand_in):
    _, catalog = fill(GERMAN, stand_in(lambda request: "nichts"))
    entry = find(catalog, "Open %s")
    assert (entry.msgstr, entry.fuzzy) == ("", True)


@pytest.mark.parametrize(
    "rule",
    [find_rule(code) for code in ["ja", "de", "fr", "ru", "cs", "pl", "lt", "lv", "ro", "sl", "ar", "pt-BR", "de-AT"]],
)
def test_the_rules_can_be_read(rule):
    forms = parse_plural_forms(rule)
    assert forms.of_one < forms.count


@pytest.mark.parametrize(
    "rule", ["", "nplurals=INTEGER; plural=EXPRESSION;", "nplurals=2; plural=import os;", "nplurals=99; plural=0;"]
)
def test_what_is_no_rule_is_none(rule):
    assert parse_plural_forms(rule) is None


@pytest.mark.parametrize(
    ("text", "mark", "expected"),
    [
        ("_File", "_", ("File", "F")),
        ("E_xit", "_", ("Exit", "x")),
        ("&File", "&", ("File", "F")),
        ("~File", "~", ("File", "F")),
        ("R&D", "&", ("RD", "D")),
        ("a &amp; b", "&", ("a &amp; b", None)),
        ("Save && _Quit", "&", ("Save && _Quit", None)),
        ("snake_case _x", "_", ("snake_case _x", None)),
        ("File", "_", ("File", None)),
        ("_File", None, ("_File", None)),
    ],
)
def test_access_keys_are_taken_out(text, mark, expected):
    assert take_accelerator(text, mark) == expected


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("Datei öffnen", "ö", "Datei _öffnen"),
        ("Beenden", "d", "Been_den"),
        ("Datei", "x", "_Datei"),
        ("123", "x", "_123"),
    ],
)
def test_access_keys_are_put_back(text, key, expected):
    assert put_accelerator(text, "_", key) == expected


@pytest.mark.parametrize(("header", "option"), [("_", None), ("", "_")])
def test_access_keys_come_by_header_or_option(stand_in, header, option):
    text = HEADER.format(language="de", plurals="nplurals=2; plural=(n != 1);")
    text += f'"X-Accelerator-Marker: {header}\\n"\n' if header else ""
    translator = stand_in(lambda request: "Ein Ordner %s")
    _, catalog = fill(text + '\nmsgid "_Open %s"\nmsgstr ""\n', translator, accelerator=option)
    assert translator.requests[0].source == "Open %s"
    assert catalog[0].msgstr == "Ein _Ordner %s"


def test_another_language_is_refused():
    with pytest.raises(DataError, match="a translation into de, the model translates into fr"):
        read_po(GERMAN.encode(), "a.po", DocumentOptions(target_language="fr"))
    assert read_po(GERMAN.encode(), "a.po", DocumentOptions(target_language="de-AT")).segments


@pytest.mark.parametrize(("translation", "charset"), [("Größe", "ISO-8859-1"), ("„Größe“", "UTF-8")])
def test_no_character_is_lost_to_the_charset(stand_in, translation, charset):
    content = GERMAN.replace("UTF-8", "ISO-8859-1").encode("iso-8859-1")
    translated = translate_document(read_po(content), stand_in(lambda request: translation))
    catalog = polib.pofile(translated.content.decode(charset))
    assert catalog.metadata["Content-Type"] == f"text/plain; charset={charset}"
    assert any(entry.msgstr.startswith(translation) for entry in catalog)


def test_line_ends_stay(stand_in):
    content = GERMAN.replace("\n", "\r\n").encode()
    translated = translate_document(read_po(content), stand_in())
    assert translated.content == fill(GERMAN, stand_in())[0].replace("\n", "\r\n").encode()


# As gettext's own tools take it, and as they write it.
TIGHT = r"""
#translator
#.program
#:a.c:1 b.c:2
#,fuzzy,c-format
#|msgid "be" "fore"
msgctxt"menu"
msgid "#a " "dog\"s" ""
msgid_plural"dogs"
msgstr[0]"#ein " "Hund"
msgstr[1] ""
"Hun" "de"

#~msgid "gone" ""
#~msgstr"weg"
"""
WIDE = r"""
# translator
#. program
#: a.c:1 b.c:2
#, fuzzy, c-format
#| msgid "before"
msgctxt "menu"
msgid "#a dog\"s"
msgid_plural "dogs"
msgstr[0] "#ein Hund"
msgstr[1] "Hunde"

#~ msgid "gone"
#~ msgstr "weg"
"""


@pytest.mark.parametrize("is_written", [True, False])
def test_blanks_and_divided_strings_are_read_as_gettext_reads_them(is_written):
    tight, wide = (read_catalog((GERMAN + text).encode(), "a.po", is_written=is_written) for text in (TIGHT, WIDE))
    assert str(tight) == str(wide)
    assert WIDE.partition("#~")[0] in str(tight)


@pytest.mark.parametrize(
    "comment", ["#", "#:", "#,", "#.", "##", "##x", "#|", "#~", "#| \n#~\n#~|", "#:\n#x", '# "x', '#"x"']
)
def test_comments_that_say_nothing_do_no_harm(comment):
    catalog = read_catalog(f'{GERMAN}\n{comment}\nmsgid "a"\nmsgstr "b"\n'.encode(), "a.po", is_written=True)
    assert (find(catalog, "a").msgstr, find(catalog, "a").flags) == ("b", [])


@pytest.mark.parametrize("comment", ["#x", "##x", "## x", "#### x ####"])
def test_comments_keep_their_signs(comment):
    """Behind the first one, as `msgcat` writes them; of the header too."""
    content = f'{comment}\n{GERMAN.strip()}\n\n{comment}\nmsgid "a"\nmsgstr "b"\n'
    written = str(read_catalog(content.encode(), "a.po", is_written=True))
    assert written.count(f"# {comment[1:]}\n") == 2
    assert str(read_catalog(written.encode(), "a.po", is_written=True)) == written


@pytest.mark.parametrize(
    ("content", "at"),
    [
        (b'msgid "a"\nmsgstr "b"\n\nmsgid "c"\nnonsense\n', "a.po:5"),
        (b'msgid "a"\nmsgstr "\xff"\n', "a.po:2"),
        (b'msgid ""\nmsgstr "Content-Type: text/plain; charset=klingon\\n"\n', "a.po"),
        (b"<html>", "a.po:1"),
        (b'msgid "a"\nmsgstr "Die Katze\n', "a.po:2"),
        (b'msgid "a"\r\nmsgstr ""\r\n"A dog /\r\n"sleeps."\r\n', "a.po:3"),
        (b'msgid "a"\nmsgstr "Die Katze\\"\n', "a.po:2"),
        (b'msgid "a\\\\" b"\nmsgstr ""\n', "a.po:1"),
        (b'msgid "a"\nmsgid_plural as\nmsgstr[0] ""\n', "a.po:2"),
        (b'msgid "a"\nmsgid_plural "as"\nmsgstr[0] "b\n', "a.po:3"),
        (b'msgid "a"\nmsgstr ""\n\n#~ msgid "b"\n#~ msgstr "c\n', "a.po:5"),
        (b'#| msgid "b\nmsgid "a"\nmsgstr ""\n', "a.po:1"),
        (b'msgid "a\\a"\nmsgstr ""\n', "a.po:1"),
        (b'msgid "a" b "c"\nmsgstr ""\n', "a.po:1"),
        (b'msgid "a" "b\nmsgstr ""\n', "a.po:1"),
        (b'msgid "a"\nmsgstr "\\\\\\061"\n', "a.po:2"),
    ],
)
def test_damage_is_told_with_its_line(content, at):
    with pytest.raises(DataError) as caught:
        read_po(content, "a.po")
    assert caught.value.at == at


@pytest.mark.parametrize("header", ["", 'msgid ""\nmsgstr ""\n"Language: de\\n"\n\n'])
@pytest.mark.parametrize(("translation", "charset"), [("Größe", "text/plain; charset=UTF-8"), ("Format", None)])
def test_a_header_that_names_no_charset_gets_one_that_is_needed(stand_in, header, translation, charset):
    _, catalog = fill(header + 'msgid "Size"\nmsgstr ""\n', stand_in(lambda request: translation))
    assert catalog.metadata.get("Content-Type") == charset
    assert catalog[0].msgstr == translation


@pytest.mark.parametrize(
    ("source", "words", "expected"),
    [
        ("One dog\\nTwo", "Zwei ein Hund", ""),
        ("One dog\\nTwo", "Ein Hund zwei", "Ein Hund\nzwei"),
        ("One dog\\n", "Hund ein", "Hund ein\n"),
    ],
)
def test_a_line_break_comes_first_or_last_as_in_the_source(stand_in, source, words, expected):
    """Of a message that does not, msgfmt makes no catalog."""

    class Reordering(stand_in):
        def translate_window(self, window, advance=None):
            order = {"zwei": 2, "ein": 0, "hund": 1}
            for translation in super().translate_window(window, advance):
                links = tuple((order[word], place) for place, word in enumerate(words.lower().split()))
                yield Translation(translation.source, (Alternative(text=words, alignment=links),), 1)

    text = HEADER.format(language="de", plurals=find_rule("de")) + f'\nmsgid "{source}"\nmsgstr ""\n'
    translated = translate_document(read_po(text.encode(), "a.po"), Reordering())
    entry = polib.pofile(translated.content.decode())[0]
    assert (entry.msgstr, entry.fuzzy) == (expected, True)
    assert translated.summary.num_filled == bool(expected)
    assert bool(translated.unwritten) == (not expected)


def test_escapes_and_quotes_stay(stand_in):
    message = r"""
# it's "so"
#| msgid ""
#| "before"
msgid ""
"\t\r\v\b\f\\a \"quoted\" \\\\ 'single'\n"
msgstr ""
"""
    _, catalog = fill(HEADER.format(language="de", plurals=find_rule("de")) + message, stand_in(upper))
    assert catalog[0].msgid == "\t\r\v\b\f\\a \"quoted\" \\\\ 'single'\n"


@pytest.mark.parametrize("fill_option", ["empty", "all"])
def test_real_catalogs(shared_corpora, tmp_path, stand_in, fill_option):
    """Copied by a model, each catalog is what polib makes of the same."""
    files = sorted((shared_corpora / "po").glob("*.po*"))
    assert len(files) == 8
    for file in files:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        path = tmp_path / "catalog.po"
        path.write_bytes(content)
        expected = polib.pofile(str(path))
        document = read_po(content, file, DocumentOptions(fill=fill_option, marks=False))
        assert document.render([None] * len(document.segments)) == str(expected).encode(expected.encoding)
        if len(content) > 1_000_000 and (fill_option, file.name) != ("all", "pretix.de.po.gz"):
            continue  # takes long, and adds little to the others
        forms = int(re.search(r"nplurals=(\d)", expected.metadata["Plural-Forms"])[1])
        for entry in expected:
            if entry.obsolete or not entry.msgid:
                continue
            if entry.msgid_plural:
                if fill_option == "all" or not all(entry.msgstr_plural.values()):
                    entry.msgstr_plural = None
            elif fill_option == "all" or not entry.msgstr.strip():
                entry.msgstr = entry.msgid
        translated = translate_document(document, stand_in())
        found = polib.pofile(translated.content.decode())
        assert translated.summary.left == translated.summary.num_failed == 0
        for entry, wanted in zip(found, expected, strict=True):
            if wanted.msgstr_plural is None:
                assert len(entry.msgstr_plural) == forms
                assert set(entry.msgstr_plural.values()) <= {entry.msgid, entry.msgid_plural}
                wanted.msgstr_plural = entry.msgstr_plural
            assert str(entry) == str(wanted)
