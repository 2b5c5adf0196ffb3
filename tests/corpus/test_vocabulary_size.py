import re
from functools import partial

import pytest

from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import VocabularySizeError, learn_tokenizer
from mtkit.corpus.vocabulary_size import explain_size
from mtkit.errors import RecipeError

IDEOGRAPHS = [chr(0x4E00 + i) + chr(0x6E00 + i) for i in range(300)] * 2


@pytest.fixture
def texts(pairs):
    """The text of each side; the target's has fewer words."""
    return {"source": [source for source, _ in pairs], "target": [target for _, target in pairs[:20]]}


def learn(lines, section):
    return learn_tokenizer(iter(lines), section)


def explain(vocabulary, texts):
    return explain_size(vocabulary, {side: partial(learn, lines) for side, lines in texts.items()})


def find_most(lines, vocabulary):
    with pytest.raises(VocabularySizeError) as caught:
        learn(lines, vocabulary)
    return caught.value.largest


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_shared_vocabulary(texts, kind):
    lines = texts["source"] + texts["target"]
    vocabulary = VocabularySection(size=5000, type=kind)
    error = explain(vocabulary, {"both": lines})
    most = find_most(lines, vocabulary)
    assert f"this text cannot give a vocabulary of 5,000 pieces: {most} is the most" in error.message
    assert error.fix == f"--vocab-size {most}"
    assert len(learn(lines, VocabularySection(size=most, type=kind))) == most
    with pytest.raises(RecipeError):
        learn(lines, VocabularySection(size=most + 1, type=kind))


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("is_turned", [False, True])
def test_the_remedy_suits_both_sides(texts, kind, is_turned):
    if is_turned:
        texts = dict(zip(texts, reversed(texts.values()), strict=True))
    vocabulary = VocabularySection(size=5000, type=kind)
    error = explain(vocabulary, texts)
    most = {side: find_most(lines, vocabulary) for side, lines in texts.items()}
    assert f"{most['source']} are the most of the source, {most['target']} of the target" in error.message
    assert error.fix == f"--vocab-size {min(most.values())}"
    for lines in texts.values():
        learn(lines, VocabularySection(size=min(most.values()), type=kind))


def test_one_side_alone_is_named(texts):
    vocabulary = VocabularySection(size=find_most(texts["source"], VocabularySection(size=5000)))
    assert explain(vocabulary, texts).message.startswith("the target text cannot give")


def test_a_second_kind_is_a_remedy_where_it_gives_the_size(texts):
    lines = texts["source"]
    most = {kind: find_most(lines, VocabularySection(size=5000, type=kind)) for kind in ("unigram", "bpe")}
    assert most["unigram"] < most["bpe"]
    vocabulary = VocabularySection(size=most["bpe"], type="unigram")
    assert "vocabulary.type=bpe" in explain(vocabulary, {"both": lines}).fix
    larger = vocabulary.model_copy(update={"size": vocabulary.size + 1})
    assert "vocabulary.type=bpe" not in explain(larger, {"both": lines}).fix


def test_characters_have_room_in_what_is_proposed(texts):
    vocabulary = VocabularySection(size=5000)
    size = int(re.match(r"--vocab-size (\d+)", explain(vocabulary, {"both": IDEOGRAPHS}).fix)[1])
    assert size == find_most(IDEOGRAPHS, vocabulary)  # a fourth of it, as else, would be less than the characters
    error = explain(vocabulary, {"source": texts["target"], "target": IDEOGRAPHS})
    assert error.fix.startswith("--set vocabulary.separate=false")


def test_too_little_text():
    assert explain(VocabularySection(size=5000), {"both": ["a"]}).fix == "give more text"
