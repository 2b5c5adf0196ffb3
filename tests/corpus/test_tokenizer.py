import pytest
import sentencepiece

from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import (
    Tokenizer,
    VocabularySizeError,
    learn_tokenizer,
    load_tokenizers,
    save_tokenizers,
)
from mtkit.errors import ModelError, RecipeError


@pytest.fixture
def lines(pairs):
    return [line for pair in pairs for line in pair]


@pytest.fixture
def tokenizer(lines, vocabulary):
    return learn_tokenizer(iter(lines), vocabulary)


def test_special_ids(tokenizer):
    assert tokenizer.special_ids == {"pad": 0, "unk": 1, "bos": 2, "eos": 3}
    assert len(tokenizer) == 80
    assert tokenizer.pieces([0, 1, 2, 3]) == ["<pad>", "<unk>", "<s>", "</s>"]


def test_encoding_adds_no_begin_or_end(tokenizer, lines):
    assert not {0, 1, 2, 3} & {token_id for ids in tokenizer.encode(lines) for token_id in ids}


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_decoding_gives_back_typography(kind):
    odd = [
        "5\u00a0% „so“ – ½ €",
        "l\u2019été\u202f: «\u2009oui\u2009»",
        "e\u0301 é ﬁ ① Ⅳ",
        "a\u200bb\u00adc\u3000d",
        "tab\there",
    ]
    tokenizer = learn_tokenizer(iter(odd * 5), VocabularySection(size={"unigram": 42, "bpe": 70}[kind], type=kind))
    assert tokenizer.decode_batch(tokenizer.encode(odd)) == odd


def test_runs_of_spaces_become_one(tokenizer):
    [ids] = tokenizer.encode(["  The   dog sees "])
    assert tokenizer.decode(ids) == "The dog sees"


def test_what_is_unknown_decodes_visibly(tokenizer):
    [ids] = tokenizer.encode(["The 犬 sees"])
    assert tokenizer.unk_id in ids
    assert "⁇" in tokenizer.decode(ids)


def test_special_symbols_in_text_are_text(tokenizer):
    [ids] = tokenizer.encode(["</s><pad>"])
    assert not {0, 2, 3} & set(ids)


def test_decoded_bytes_never_break_a_line(lines):
    tokenizer = learn_tokenizer(iter(lines), VocabularySection(size=350, type="bpe", byte_fallback=True))
    feeds = [i for i, piece in enumerate(tokenizer.pieces(range(len(tokenizer)))) if piece in ("<0x0A>", "<0x0D>")]
    assert len(feeds) == 2
    assert not set("\r\n") & set(tokenizer.decode(feeds * 2))


def test_byte_fallback_spells_the_unknown(lines):
    tokenizer = learn_tokenizer(iter(lines), VocabularySection(size=350, type="bpe", byte_fallback=True))
    assert tokenizer.decode(tokenizer.encode(["The 犬"])[0]) == "The 犬"


def test_user_defined_symbols_are_one_piece(lines):
    tokenizer = learn_tokenizer(
        iter(lines), VocabularySection(size=90, type="bpe", user_defined_symbols=["<2de>", 'a,"b'])
    )
    assert {"<2de>", 'a,"b'} <= set(tokenizer.pieces(tokenizer.encode(['<2de> x a,"b'])[0]))


def test_learning_is_reproducible(tokenizer, lines, vocabulary):
    again = learn_tokenizer(iter(lines), vocabulary)
    assert again.serialized == tokenizer.serialized
    assert again.fingerprint == tokenizer.fingerprint
    assert learn_tokenizer(iter(lines), VocabularySection(size=60)).fingerprint != tokenizer.fingerprint


def test_learning_says_nothing(lines, vocabulary, capfd):
    learn_tokenizer(iter(lines), vocabulary)
    assert capfd.readouterr() == ("", "")


def test_a_sentence_of_any_length_is_learned_from():
    long = "x" * 1500 + "ψ" * 1500  # more than SentencePiece's 4192 bytes
    tokenizer = learn_tokenizer(iter(["some words to learn", long]), VocabularySection(size=22, type="bpe"))
    assert tokenizer.unk_id not in tokenizer.encode(["ψ"])[0]


def test_too_large_a_vocabulary(lines):
    with pytest.raises(VocabularySizeError) as caught:
        learn_tokenizer(iter(lines), VocabularySection(size=5000))
    assert len(learn_tokenizer(iter(lines), VocabularySection(size=caught.value.largest))) == caught.value.largest


def test_too_small_a_vocabulary(lines):
    with pytest.raises(RecipeError, match="has no room for the"):
        learn_tokenizer(iter(lines), VocabularySection(size=16))


def test_contradictory_symbols(lines):
    with pytest.raises(RecipeError, match="SentencePiece cannot learn"):
        learn_tokenizer(iter(lines), VocabularySection(size=80, user_defined_symbols=["<a>", "<a>"]))


@pytest.mark.parametrize("content", [b"", b"no model" * 50])
def test_not_a_model(tmp_path, content, capfd):
    path = tmp_path / "x.spm"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a SentencePiece model"):
        Tokenizer.load(path)
    assert capfd.readouterr().err == ""


def test_missing_model(tmp_path):
    with pytest.raises(ModelError, match="cannot read"):
        Tokenizer.load(tmp_path / "none.spm")


def test_a_model_without_padding_is_refused(tmp_path, lines):
    prefix = tmp_path / "foreign"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(prefix), vocab_size=60, minloglevel=2
    )
    with pytest.raises(ModelError, match="no symbol for pad"):
        Tokenizer.load(prefix.with_suffix(".model"))


def test_shared_and_separate_files(tmp_path, tokenizer, lines):
    save_tokenizers(tokenizer, tokenizer, tmp_path)
    source, target = load_tokenizers(tmp_path)
    assert source is target
    assert source.serialized == tokenizer.serialized
    other = learn_tokenizer(iter(lines), VocabularySection(size=60))
    separate = tmp_path / "separate"
    separate.mkdir()
    save_tokenizers(tokenizer, other, separate)
    assert [len(side) for side in load_tokenizers(separate)] == [80, 60]


@pytest.mark.parametrize("line", ["The dog  sees", " ①ﬁ ½ e\u0301\u200d", "犬 sees\u00a0the 👨‍👩‍👧 Hund!", "", " "])
@pytest.mark.parametrize("settings", [{}, {"byte_fallback": True, "size": 340}, {"normalization": "nmt_nfkc"}])
def test_surfaces_are_those_of_sentencepiece(lines, line, settings):
    tokenizer = learn_tokenizer(iter(lines), VocabularySection(**{"size": 60} | settings))
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.serialized)
    assert tokenizer.surfaces(line) == [piece.surface for piece in processor.encode(line, return_type="proto").pieces]
