import io
import json
import shutil
import sys

import polib
import pytest

from mtkit.checkpoint.model_folder import CONFIG_NAME
from mtkit.documents import pipeline
from mtkit.documents.pipeline import DocumentSummary, TranslatedDocument

FORMATS = ["po", "xliff", "tmx", "html", "markdown", "srt", "vtt", "text"]
FAST = ["--device", "cpu", "--threads", "1", "--beam-size", "2"]
CATALOG = r"""msgid ""
msgstr ""
"Language: de\n"
"Content-Type: text/plain; charset=UTF-8\n"

#: a.c:1
msgid "the %s dog"
msgstr ""

msgid "a cat"
msgstr "eine Katze"

msgid "<b>the man</b> sees"
msgstr ""
"""
XLIFF = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en" trgLang="de">
<file id="f"><unit id="1"><segment><source>the <ph id="1"/> dog</source></segment></unit></file></xliff>"""
MEMORY = """<tmx version="1.4"><header srclang="en"/><body>
<tu><tuv xml:lang="en"><seg>the dog</seg></tuv></tu></body></tmx>"""


@pytest.fixture(scope="session")
def german_model(model_folder, tmp_path_factory):
    """The model of random weights, which says that it translates English into German."""
    folder = tmp_path_factory.mktemp("german") / "model"
    shutil.copytree(model_folder, folder)
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    config |= {"source_language": "en", "target_language": "de"}
    (folder / CONFIG_NAME).write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def translate(run, german_model):
    return lambda *arguments: run("translate", "--model", german_model, *FAST, *arguments)


def test_a_catalog_by_its_suffix(translate, write, tmp_path):
    result = translate(write("a.po", CATALOG), "-o", tmp_path / "b.po")
    assert (result.code, result.out) == (0, "")
    catalog = polib.pofile(str(tmp_path / "b.po"))
    assert "%s" in catalog[0].msgstr and catalog[0].fuzzy
    assert catalog[1].msgstr == "eine Katze"
    assert (catalog[2].msgstr.count("<b>"), catalog[2].msgstr.count("</b>")) == (1, 1)
    assert "2 segments, 2 translated in " in result.err
    assert "2 with placeholders or markup: " in result.err and "0 left untranslated" in result.err


def test_standard_input_and_output(translate, monkeypatch, write):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CATALOG.encode())))
    result = translate("--format", "po", "--no-mark", "--quiet")
    assert (result.code, result.err) == (0, "")
    assert polib.pofile(result.out)[0].msgstr
    assert not polib.pofile(result.out)[0].fuzzy


@pytest.mark.parametrize(("name", "text"), [("a.xlf", XLIFF), ("a.tmx", MEMORY)])
def test_xml(translate, write, name, text):
    result = translate(write(name, text))
    assert result.code == 0
    assert "<ph id" in result.out or 'xml:lang="de"' in result.out


def test_all_can_be_filled(translate, write):
    result = translate(write("a.po", CATALOG), "--fill", "all")
    assert "3 segments, 3 translated" in result.err


def test_gzip(translate, write, tmp_path):
    import gzip

    (tmp_path / "a.po.gz").write_bytes(gzip.compress(CATALOG.encode()))
    assert translate(tmp_path / "a.po.gz", "-o", tmp_path / "b.po.gz").code == 0
    assert polib.pofile(gzip.decompress((tmp_path / "b.po.gz").read_bytes()).decode())[0].msgstr


@pytest.mark.parametrize("place", ["folder", "a.po/b.po"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(translate, write, tmp_path, monkeypatch, place):
    from mtkit.documents import pipeline

    monkeypatch.setattr(pipeline, "translate_document", lambda *_: pytest.fail("it was translated for nothing"))
    (tmp_path / "folder").mkdir()
    result = translate(write("a.po", CATALOG), "-o", tmp_path / place)
    assert (result.code, len(result.fixes)) == (7, 1)
    assert "error: cannot write: " in result.err
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "a.po"}


def test_lines_stay_lines_if_asked(translate, write):
    result = translate(write("a.po", "the dog\na cat\n"), "--format", "lines")
    assert len(result.out.splitlines()) == 2


@pytest.mark.parametrize("option", [["--json"], ["--n-best", "2"], ["--strict"], ["--scores", "s.tsv"]])
def test_what_is_for_lines_is_refused(translate, write, option):
    result = translate(write("a.po", CATALOG), *option)
    assert result.code == 2
    assert f"error: {option[0]} is for lines, and the input is a document (po)" in result.err


@pytest.mark.parametrize(
    "option",
    [
        ["--fill", "all"],
        ["--no-mark"],
        ["--accelerator", "_"],
        ["--max-width", "40"],
        ["--source-language", "en"],
        ["--target-language", "de"],
    ],
)
@pytest.mark.parametrize("arguments", [["a.txt"], ["a.po", "--format", "lines"], ["--format", "jsonl"]])
def test_what_is_for_documents_is_refused_of_lines(run, write, monkeypatch, tmp_path, option, arguments):
    monkeypatch.chdir(tmp_path)
    write("a.txt", "the dog\n")
    write("a.po", CATALOG)
    result = run("translate", "--model", "none", *arguments, *option)
    assert (result.code, result.out) == (2, "")
    assert f"error: {option[0]} is for documents, and the input is read as lines" in result.err
    assert result.fixes == ["leave it out, or say what document it is, as in --format po"]


@pytest.mark.parametrize(
    ("option", "fitting"),
    [
        (["--fill", "all"], ["po", "xliff", "tmx"]),
        (["--no-mark"], ["po", "xliff", "tmx"]),
        (["--accelerator", "_"], ["po"]),
        (["--max-width", "40"], ["srt", "vtt"]),
        (["--source-language", "en"], FORMATS),
        (["--target-language", "de"], FORMATS),
    ],
)
def test_what_is_for_other_documents_is_refused(run, option, fitting):
    for name in FORMATS:
        result = run("translate", "--model", "none", "absent", "--format", name, *option)
        if name in fitting:
            assert result.code == 4, result.err  # the model comes next
            continue
        assert (result.code, result.out) == (2, "")
        assert f"error: {option[0]} is for {', '.join(fitting)}, and the input is a document ({name})" in result.err
        assert result.fixes == [f"leave it out, or say what document it is, as in --format {fitting[0]}"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.po", 'msgid "a"\nmsgstr "b"\nnonsense\n', "no gettext catalog, or a damaged one"),
        ("a.xlf", "<xliff>\n", "not well-formed XML"),
        (
            "a.po",
            CATALOG.replace("Language: de", "Language: fr"),
            "a translation into fr, the model translates into de",
        ),
    ],
)
def test_damage_is_one_line(translate, write, tmp_path, name, text, message):
    result = translate(write(name, text), "-o", tmp_path / "out")
    assert result.code == 3
    assert message in result.err and len(result.fixes) == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_told(translate):
    result = translate("absent.po")
    assert (result.code, result.fixes) == (3, ["check the path"])


@pytest.mark.parametrize(("package", "name", "text"), [("polib", "a.po", CATALOG), ("lxml", "a.tmx", MEMORY)])
def test_a_missing_package_names_the_extra(translate, write, monkeypatch, package, name, text):
    monkeypatch.setitem(sys.modules, package, None)
    result = translate(write(name, text))
    assert (result.code, result.fixes) == (2, ['install it: pip install "mtkit[formats]"'])


def test_what_is_left_is_named(translate, write):
    """Sampling takes no constraints: what random text loses, it loses again."""
    result = translate(write("a.po", CATALOG), "--sampling", "--seed", "1")
    assert result.code == 0
    assert "a.po: left untranslated: line 6" in result.err
    assert "0 on the second try, 1 left untranslated" in result.err


def test_what_the_document_cannot_take_is_named_with_the_reason(translate, write, monkeypatch):
    def unable(document, translator, advance):
        places = [f"line {number}" for number in range(1, 13)]
        return TranslatedDocument(b"", DocumentSummary(), (), tuple(places), "as it is so")

    monkeypatch.setattr(pipeline, "translate_document", unable)
    result = translate(write("a.md", "Yes.\n"))
    assert "a.md: left untranslated, as it is so: line 1, " in result.err
    assert "line 10, …" in result.err


def test_a_model_without_languages_takes_them_from_the_command(run, model_folder, write):
    path = write("a.tmx", MEMORY)
    result = run("translate", "--model", model_folder, *FAST, path)
    assert result.code == 3
    assert "--target-language" in result.fixes[0]
    result = run("translate", "--model", model_folder, *FAST, path, "--target-language", "de")
    assert 'xml:lang="de"' in result.out


def test_another_language_than_the_models_is_told(translate, write):
    path = write("a.html", "<p>the dog</p>")
    result = translate(path, "--source-language", "en-GB", "--target-language", "fr")
    assert result.code == 0
    assert "warning: --target-language is fr, but the model says that it translates into de" in result.err
    assert "--source-language" not in result.err


def test_a_page_with_an_unclosed_tag_says_where(translate, write):
    result = translate(write("a.html", '<p>the dog</p>\n<p>a <a href="x>cat</a></p>'))
    assert result.code == 0
    assert "a.html: line 2: a tag or comment that never ends; what follows it is left as it is" in result.err
