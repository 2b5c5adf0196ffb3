import json

import numpy as np
import pytest
import sentencepiece

from mtkit.cli.main import main
from mtkit.config.corpus import CorpusSection, FilterSection, TextSource
from mtkit.config.loading import load_recipe
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.prepare import is_up_to_date, prepare_corpus
from mtkit.corpus.report import build_corpus_rows
from mtkit.corpus.store import PreparedCorpus
from mtkit.errors import ModelError, RecipeError

RECIPE = """\
corpus:
  source_language: en
  target_language: de
  train:
    - {source: a.en, target: a.de, name: human}
    - {source: b.en, target: b.de, name: back, tag: <bt>}
  valid: {source: v.en, target: v.de, tag: <news>}
  test_size: 30
vocabulary: {size: 90, user_defined_symbols: [<sep>, <bt>]}
"""


@pytest.fixture
def text(write, pairs):
    """Return a function that makes a source of some of the pairs."""

    def text(file, start, end, **fields):
        sides = {
            side: write(f"{file}.{language}", [pair[i] for pair in pairs[start:end]])
            for i, (side, language) in enumerate((("source", "en"), ("target", "de")))
        }
        return TextSource(**sides, **fields)

    return text


@pytest.fixture
def two(text):
    """A corpus section of 300 pairs, the last 150 tagged."""
    train = [text("a", 0, 150, name="human"), text("b", 150, 300, name="back", tag="<bt>")]
    return CorpusSection(train=train, valid_size=30, test_size=30)


def expected_ids(corpus, pair):
    """The token ids that the source of a pair should have."""
    [ids] = corpus.source_tokenizer.encode([pair.source])
    tag = corpus.tag_of(pair.corpus)
    return ids if tag is None else [corpus.source_tokenizer.find_symbol(tag), *ids]


def test_a_recipe_of_two_corpora_with_tags(text, write, tmp_path):
    for name, start, end in (("a", 0, 120), ("b", 120, 280), ("v", 280, 300)):
        text(name, start, end)
    recipe = write("recipe.yaml", RECIPE)
    with pytest.raises(SystemExit) as caught:
        main(["prepare", str(recipe), "-o", str(tmp_path / "out")])
    assert caught.value.code == 0
    corpus = PreparedCorpus.load(tmp_path / "out")
    pieces = corpus.source_tokenizer.pieces(range(len(corpus.source_tokenizer)))
    assert pieces[4:7] == ["<sep>", "<bt>", "<news>"]
    assert [corpus.tag_of(name) for name in ("human", "back", "v.en", "unheard-of")] == [None, "<bt>", "<news>", None]
    for split in (corpus.train, corpus.valid, corpus.test):
        assert all(pair.source_ids == expected_ids(corpus, pair) for pair in split)
        assert not any("<" in pair.source for pair in split)
    assert {pair.source_ids[0] for pair in corpus.valid} == {pieces.index("<news>")}
    assert {pair.corpus for pair in corpus.test} == {"human"}
    recorded = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["corpora"]
    assert recorded == {
        "human": {"pairs": sum(pair.corpus == "human" for pair in corpus.train), "tag": None},
        "back": {"pairs": sum(pair.corpus == "back" for pair in corpus.train), "tag": "<bt>"},
        "v.en": {"pairs": 0, "tag": "<news>"},
    }
    rows = build_corpus_rows(corpus.manifest)
    assert [row[:2] for row in rows] == [("human", ""), ("back", "<bt>")]
    assert sum(row[2] for row in rows) == len(corpus.train)
    resolved = load_recipe(recipe)
    assert is_up_to_date(resolved.corpus, resolved.vocabulary, tmp_path / "out")


@pytest.mark.parametrize(("human_tag", "held_out"), [(None, {"human"}), ("<hu>", {"human", "back"})])
def test_held_out_text_is_not_the_special_text_if_there_is_other(text, vocabulary, tmp_path, human_tag, held_out):
    train = [text("a", 0, 150, name="human", tag=human_tag), text("b", 150, 300, name="back", tag="<bt>")]
    section = CorpusSection(train=train, valid_size=30, test_size=30)
    corpus = prepare_corpus(section, vocabulary, tmp_path / "out")
    assert {pair.corpus for split in (corpus.valid, corpus.test) for pair in split} == held_out


def test_an_untagged_corpus_is_encoded_as_ever(corpus, vocabulary, tmp_path):
    prepared = prepare_corpus(corpus, vocabulary, tmp_path / "out")
    assert all(pair.source_ids == prepared.source_tokenizer.encode([pair.source])[0] for pair in prepared.train)
    assert prepared.manifest.corpora["train.en"].model_dump() == {"pairs": 240, "tag": None}


def test_a_tag_is_one_token_of_the_statistics_and_the_filter(two, vocabulary, tmp_path):
    tagged = prepare_corpus(two, vocabulary, tmp_path / "whole")
    tokens = sum(len(pair.source_ids) for pair in tagged.train)
    assert tagged.manifest.splits["train"].source.tokens == tokens == tagged.train.source_lengths.sum()
    backs = [pair for pair in tagged.train if pair.corpus == "back"]
    pair = next(pair for pair in backs if len(pair.source_ids) > len(pair.target_ids))
    for most, is_kept in ((len(pair.source_ids), True), (len(pair.source_ids) - 1, False)):
        shorter = two.model_copy(update={"filters": FilterSection(max_tokens=most)})
        cut = prepare_corpus(shorter, vocabulary, tmp_path / str(most))
        assert (pair.source in cut.train.source_lines()) is is_kept


def test_an_empty_source_of_a_tagged_set_is_its_tag(files, write, vocabulary, tmp_path):
    valid = TextSource(source=write("v.en", ["", "A dog."]), target=write("v.de", ["Hund.", "Hund."]), tag="<2de>")
    prepared = prepare_corpus(CorpusSection(train=[files], valid=valid), vocabulary, tmp_path / "out")
    assert prepared.source_tokenizer.pieces(prepared.valid[0].source_ids) == ["<2de>"]


def test_only_the_source_vocabulary_has_the_tags(two, tmp_path):
    prepared = prepare_corpus(two, VocabularySection(size=45, separate=True), tmp_path / "out")
    assert prepared.source_tokenizer.find_symbol("<bt>") is not None
    assert prepared.target_tokenizer.find_symbol("<bt>") is None


def test_a_given_vocabulary_must_have_the_tags(two, pairs, tmp_path):
    def learn(**options):
        lines = [line for pair in pairs for line in pair]
        ids = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}
        prefix = str(tmp_path / "mine")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=prefix, vocab_size=60, minloglevel=2, **ids, **options
        )
        return VocabularySection(source_model=tmp_path / "mine.model")

    with pytest.raises(ModelError, match="no piece <bt>") as caught:
        prepare_corpus(two, learn(), tmp_path / "out")
    assert caught.value.at == str(tmp_path / "mine.model")
    assert "--user_defined_symbols=<bt>" in caught.value.fix
    assert not (tmp_path / "out").exists()
    prepared = prepare_corpus(two, learn(user_defined_symbols=["<bt>"]), tmp_path / "out")
    assert all(pair.source_ids == expected_ids(prepared, pair) for pair in prepared.train)


@pytest.mark.parametrize("tag", ["</s>", "<unk>", "<pad>"])
def test_a_special_symbol_is_no_tag(two, vocabulary, tmp_path, tag):
    train = [two.train[0], two.train[1].model_copy(update={"tag": tag})]
    with pytest.raises(RecipeError, match="special symbol") as caught:
        prepare_corpus(two.model_copy(update={"train": train}), vocabulary, tmp_path / "out")
    assert caught.value.at == "corpus.train.1.tag"


@pytest.mark.parametrize(("other", "place"), [("train", "corpus.train.1.tag"), ("test", "corpus.test.tag")])
def test_one_name_cannot_stand_for_two_tags(text, vocabulary, tmp_path, other, place):
    first, second = text("a", 0, 150, name="x"), text("b", 150, 300, name="x", tag="<bt>")
    fields = {"train": [first, second]} if other == "train" else {"train": [first], "test": second}
    with pytest.raises(RecipeError, match=r"'x' stands for two tags: none .* and <bt>") as caught:
        prepare_corpus(CorpusSection(**fields), vocabulary, tmp_path / "out")
    assert caught.value.at == place
    assert "`name:`" in caught.value.fix


def test_one_name_may_stand_for_two_corpora_of_one_tag(text, vocabulary, tmp_path):
    train = [text("a", 0, 150, name="x", tag="<bt>"), text("b", 150, 300, name="x", tag="<bt>")]
    prepared = prepare_corpus(CorpusSection(train=train), vocabulary, tmp_path / "out")
    assert prepared.train.corpus_names == ["x"]
    assert prepared.manifest.corpora["x"].pairs == len(prepared.train)


def test_a_set_that_lacks_the_tag_of_all_training_text_is_told(text, vocabulary, tmp_path):
    corpus = CorpusSection(
        train=[text("a", 0, 250, tag="<2de>")], valid=text("v", 250, 275), test=text("t", 275, 300, tag="<2de>")
    )
    assert prepare_corpus(corpus, vocabulary, tmp_path / "out").manifest.warnings == [
        "every training corpus has a tag and the validation set has none: set corpus.valid.tag if its sources need one"
    ]


@pytest.mark.parametrize("tag", ["bt", "<>", "<2 de>", "<a><b>", "x<bt>", "<bt>\n"])
def test_what_is_no_tag(tag):
    with pytest.raises(ValueError, match="pattern"):
        TextSource(path="x.tsv", tag=tag)


def test_another_tag_is_another_corpus(two, vocabulary, tmp_path):
    prepare_corpus(two, vocabulary, tmp_path / "out")
    train = [two.train[0], two.train[1].model_copy(update={"tag": "<synthetic>"})]
    with pytest.raises(RecipeError, match=r"corpus\.train\.1\.tag \('<bt>' there, '<synthetic>' now\)"):
        prepare_corpus(two.model_copy(update={"train": train}), vocabulary, tmp_path / "out")


def test_a_corpus_from_before_there_were_tags_opens(corpus, vocabulary, tmp_path):
    prepare_corpus(corpus, vocabulary, tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    del old["corpora"]
    for name in [name for name in old["request"] if name.endswith(".tag")]:
        del old["request"][name]
    path.write_text(json.dumps(old), encoding="utf-8")
    assert is_up_to_date(corpus, vocabulary, tmp_path / "out")
    prepared = PreparedCorpus.load(tmp_path / "out")
    assert prepared.manifest.corpora == {}
    assert prepared.tag_of(prepared.train[0].corpus) is None
    assert prepared.train.corpus_names == ["train.en"]


def test_the_corpus_of_each_row(two, vocabulary, tmp_path):
    train = prepare_corpus(two, vocabulary, tmp_path / "out").train
    assert train.corpus_names == ["human", "back"]
    assert train.corpus_codes.dtype == np.uint8
    assert [train.corpus_names[code] for code in train.corpus_codes] == [pair.corpus for pair in train]
