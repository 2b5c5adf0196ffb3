import bz2
import gzip

import pytest

from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.decoding.glossary import Glossary, count_kept, read_glossary
from mtkit.decoding.phrases import encode_phrases
from mtkit.errors import DataError


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def find(terms, line):
    """What is found of source terms that each have themselves as their translation."""
    return [group[0] for group in Glossary({term: (term,) for term in terms}).find(line)]


def test_terms_in_lines_of_their_own_and_in_one(tmp_path):
    text = "source\ttarget\ncat\tKatze | Mieze\nbig  dog\tgroßer Hund \n\ncat\tStubentiger\nCat\tKatze\n"
    glossary = read_glossary(write(tmp_path / "glossary.tsv", text))
    assert glossary.num_terms == 2
    assert glossary.find("A big dog and a cat .") == (("großer Hund",), ("Katze", "Mieze", "Stubentiger"))


def test_a_bar_without_spaces_is_part_of_a_term(tmp_path):
    assert read_glossary(write(tmp_path / "g.tsv", "pipe\ta|b | c\n")).find("pipe") == (("a|b", "c"),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_byte_order_mark_and_windows_line_ends(tmp_path, encoding):
    glossary = read_glossary(write(tmp_path / "g.tsv", "Source\tTarget\r\nété\tSommer\r\n", encoding))
    assert glossary.num_terms == 1
    assert glossary.find("L'été .") == (("Sommer",),)


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed(tmp_path, suffix, compress):
    path = tmp_path / f"g.tsv{suffix}"
    path.write_bytes(compress(b"cat\tKatze\n"))
    assert read_glossary(path).find("cat") == (("Katze",),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat", "1 column instead of two"),
        ("cat\tKatze\tnoun", "3 columns instead of two"),
        ("\tKatze", "no source term"),
        ("cat\t ", "an empty target term"),
        ("cat\tKatze | ", "an empty target term"),
        ("cat\t| Katze", "an empty target term"),
        ("cat\tKatze |  | Mieze", "an empty target term"),
    ],
)
def test_malformed_lines_are_reported_with_their_place(tmp_path, line, message):
    path = write(tmp_path / "g.tsv", f"dog\tHund\n{line}\nbird\n")
    with pytest.raises(DataError) as caught:
        read_glossary(path)
    assert caught.value.message == message
    assert caught.value.at == f"{path}:2"
    assert "a tab" in caught.value.fix
    assert [other.at for other in caught.value.also] == [f"{path}:3"]


def test_an_empty_file(tmp_path):
    with pytest.raises(DataError, match="the file is empty") as caught:
        read_glossary(write(tmp_path / "g.tsv", ""))
    assert caught.value.fix == "give a file with a source term, a tab, and a target term a line"


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_glossary(tmp_path / "none.tsv")


@pytest.mark.parametrize(
    ("terms", "line", "found"),
    [
        (["cat"], "The CAT sat.", ["cat"]),
        (["CAT"], "a cat", ["CAT"]),
        (["cat"], "concatenate cats", []),
        (["cat"], "cat, cat and cat", ["cat"]),
        (["straße"], "STRASSE", ["straße"]),
        (["mail"], "an e-mail", ["mail"]),
        (["e-mail"], "an E-Mail.", ["e-mail"]),
        (["C++"], "in C++.", ["C++"]),
        (["C"], "C++", ["C"]),
        (["new york"], "New  \t York", ["new york"]),
        (["new york"], "newyork new-york", []),
        (["a b", "a b c d", "c"], "a b c", ["a b", "c"]),
        (["new", "new york", "york times"], "new york times", ["new york"]),
        (["new york city", "york"], "new york", ["york"]),
        (["b", "a"], "a b", ["a", "b"]),
        (["机器学习"], "我喜欢机器学习。", ["机器学习"]),
        (["机器", "机器学习"], "用机器学习a机器", ["机器学习", "机器"]),
        (["機械"], "the機械is", ["機械"]),
        (["is"], "機械is大", ["is"]),
        (["ก"], "กั", []),  # with a vowel above it, it is another character
        (["हिन्दी"], "वह हिन्दी बोलता है", ["हिन्दी"]),
        (["हिन्द"], "हिन्दी", []),  # the vowel sign belongs to the word
        (["caf\u00e9"], "cafe\u0301", ["caf\u00e9"]),
        (["cafe"], "cafe\u0301", []),
        (["x"], "", []),
        ([], "a line", []),
    ],
)
def test_where_terms_occur(terms, line, found):
    assert find(terms, line) == found


@pytest.mark.parametrize(
    ("text", "groups", "kept"),
    [
        ("Die Katze und der Hund", [("Katze", "Mieze"), ("Hund",), ("Vogel",)], 2),
        ("Die Katzen", [("Katze",)], 1),
        ("Die Hauskatze", [("katze",)], 0),
        ("katze", [("Katze",)], 0),
        ("Große Hunde", [("große Hunde",)], 1),
        ("to us", [("US",)], 0),
        ("„Katze“", [("Katze",)], 1),
        ("我喜欢机器学习", [("机器",)], 1),
        ("100%", [("%",)], 1),
        ("cafe\u0301", [("caf\u00e9",)], 1),
        ("concat cat", [("cat",)], 1),
        ("", [("a",)], 0),
        ("a", [], 0),
    ],
)
def test_terms_that_were_kept(text, groups, kept):
    assert count_kept(text, groups) == kept


LINES = ["the cat sat on the mat", "a big dog , a small dog", "机器 学习 我 喜欢 机器学习", "„ cat “ ( dog ) %"] * 30


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request):
    section = VocabularySection(size=38, type=request.param, byte_fallback=False, character_coverage=1.0)
    return learn_tokenizer(iter(LINES), section)


def contains(tokens, group):
    return any(tuple(tokens[i : i + len(p)]) == p for p in group for i in range(len(tokens)))


@pytest.mark.parametrize("phrase", ["cat", "big dog", "机器", "学习", "%"])
def test_phrases_have_the_tokens_that_they_have_in_a_sentence(tokenizer, phrase):
    ((group),) = encode_phrases(tokenizer, [[phrase]])
    for line in (f"{phrase} a", f"a {phrase}", f"a {phrase} the", phrase):
        assert contains(tokenizer.encode([line])[0], group)
    assert all(tokenizer.decode(ids) == phrase for ids in group)


def test_only_what_can_follow_without_a_space_has_an_alternative(tokenizer):
    assert [len(group) for group in encode_phrases(tokenizer, [["cat"], ["我"], ["%"]])] == [1, 2, 2]
    assert contains(tokenizer.encode(["喜欢我"])[0], encode_phrases(tokenizer, [["我"]])[0])


def test_alternatives_are_one_group_and_said_once(tokenizer):
    cat, dog = (encode_phrases(tokenizer, [[word]])[0] for word in ("cat", "dog"))
    assert encode_phrases(tokenizer, [["cat", "dog", "cat"], ["dog"]]) == ((*cat, *dog), dog)
    assert encode_phrases(tokenizer, []) == ()


@pytest.mark.parametrize("groups", [[[""]], [["cat", "  "]], [[]], [["cat"], ["Ω"]]])
def test_phrases_that_cannot_be(tokenizer, groups):
    with pytest.raises(DataError):
        encode_phrases(tokenizer, groups)


def test_bytes_spell_what_the_vocabulary_lacks():
    section = VocabularySection(size=320, type="bpe", byte_fallback=True, character_coverage=1.0)
    tokenizer = learn_tokenizer(iter(LINES), section)
    (group,) = encode_phrases(tokenizer, [["Ω"]])
    assert tokenizer.decode(group[0]) == "Ω"
