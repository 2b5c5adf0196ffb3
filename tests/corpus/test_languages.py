import pytest

from mtkit.config.corpus import CorpusSection, TextSource
from mtkit.corpus.languages import find_languages


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
