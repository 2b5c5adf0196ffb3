import pytest

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.corpus.languages import check_catalogs, find_languages
from mtkit.errors import DataError


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("train.en", "train.de.gz", ("en", "de")),
        ("a.b.pt-BR.xz", "zh_CN/x.zh_CN", ("pt-BR", "zh-CN")),
        ("train.txt", "train.de", (None, None)),
        ("a.en", "b.en", (None, None)),
        ("source", "target", (None, None)),
        ("x.en.txt", "x.de.txt", (None, None)),
    ],
)
def test_file_names(source, target, expected):
    assert find_languages(CorpusSection(train=[TextSource(source=source, target=target)])) == expected


def test_given_ones_win():
    train = [TextSource(source="x.en", target="x.de")]
    assert find_languages(CorpusSection(train=train, target_language="de-AT")) == ("en", "de-AT")


def test_columns():
    nested = TextSource(dataset="wmt/wmt14", columns=("translation.en", "translation.de"))
    assert find_languages(CorpusSection(train=[nested])) == ("en", "de")
    assert find_languages(CorpusSection(train=[TextSource(path="x.tsv", columns=(1, 2))])) == (None, None)
    assert find_languages(CorpusSection()) == (None, None)


def catalog(language):
    header = f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n'
    return header + '\nmsgid "Open"\nmsgstr "x"\n'


def xliff(source, target):
    return f'<xliff version="1.2"><file source-language="{source}" target-language="{target}"/></xliff>'


@pytest.mark.parametrize(
    ("name", "content", "source", "target", "expected"),
    [
        ("a.xlf", xliff("en-US", "de-DE"), None, None, ("en-US", "de-DE")),
        ("a.xlf", xliff("en-US", "de-DE"), "de", None, ("de", "en-US")),
        ("a.xlf", xliff("en-US", "de-DE"), None, "en", ("de-DE", "en")),
        ("a.xlf", xliff("en-US", "de-DE"), "en", None, ("en", "de-DE")),
        ("a.xlf", xliff("en", "en-GB"), "en", None, ("en", "en-GB")),
        ("a.po", catalog("de"), "en", None, ("en", "de")),
        ("a.po", catalog("de"), "de", None, ("de", None)),
        ("a.po", catalog("de_AT"), "de", None, ("de", None)),
        ("a.po", catalog("de"), None, "de", (None, "de")),
    ],
)
def test_one_language_says_in_which_direction_a_memory_is_read(write, name, content, source, target, expected):
    train = [TextSource(path=write(name, content))]
    assert find_languages(CorpusSection(train=train, source_language=source, target_language=target)) == expected


def check(write, catalogs, source, target):
    train = [TextSource(path=write(f"{i}.po", catalog(language))) for i, language in enumerate(catalogs)]
    corpus = CorpusSection(train=train, source_language=source, target_language=target)
    return check_catalogs(corpus, find_languages(corpus))


@pytest.mark.parametrize(
    ("catalogs", "source", "target", "message"),
    [
        (["de", "fr"], "de", None, "this one is into fr, .*0.po into de"),
        (["fr", "de"], "de", None, "this one is into fr, .*1.po into de"),
        (["", "de", "de", "fr"], "en", None, "this one is into fr, .*1.po into de"),
        (["", "de", "fr"], None, None, "this one is into fr, .*1.po into de"),
        (["de", "fr"], "en", None, r"\? to fr, the corpus en to de"),
        (["de", "fr"], "en", "de", r"\? to fr, the corpus en to de"),
    ],
)
def test_catalogs_of_several_languages_are_refused(write, catalogs, source, target, message):
    with pytest.raises(DataError, match=message):
        check(write, catalogs, source, target)


@pytest.mark.parametrize(
    ("catalogs", "source", "target"),
    [
        (["de", "", "de-AT"], "en", None),
        (["de", "de-AT"], "de", None),
        (["zh-CN", "zh-TW"], "en", "zh"),
        (["de"], "de", None),
        (["de", "de"], "de", "en"),
    ],
)
def test_catalogs_of_one_language_are_not(write, catalogs, source, target):
    assert check(write, catalogs, source, target) == []


def test_catalogs_of_both_directions_are_told(write):
    (warning,) = check(write, ["de", "en_GB"], "en", "de")
    assert "1.po (into en-GB) is read with its sides swapped" in warning
    assert "0.po (into de) is not" in warning
