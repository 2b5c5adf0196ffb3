from collections import Counter

import pytest
import sentencepiece

from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.segmentation import RandomSegmenter
from mtkit.corpus.spm_file import ModelKind, PieceKind, SpmFile
from mtkit.corpus.tokenizer import Tokenizer, learn_tokenizer

ODD = [
    "",
    "   ",
    "犬",
    "The 犬犬 犬sees犬",
    "  The   dog ",
    "x\u2581y",
    "<2de> The dog",
    "The<2de>dog<2de>",
    "<2d The 2de>",
    "½ü😀",
]
SYMBOLS = ["<2de>", "<2de>dog", "Der Hund"]


@pytest.fixture
def lines(pairs):
    return [line for pair in pairs for line in pair]


@pytest.fixture
def processor():
    """Return a function that gives SentencePiece's own object for a tokenizer."""
    return lambda tokenizer: sentencepiece.SentencePieceProcessor(model_proto=tokenizer.serialized)


def test_a_file_is_read_as_the_library_reads_it(lines, processor):
    section = VocabularySection(size=350, byte_fallback=True, user_defined_symbols=SYMBOLS)
    tokenizer = learn_tokenizer(iter(lines), section)
    model, library = SpmFile.parse(tokenizer.serialized), processor(tokenizer)
    assert model.kind is ModelKind.BPE
    assert not model.is_space_behind
    assert [piece.text for piece in model.pieces] == tokenizer.pieces(range(len(tokenizer)))
    assert [piece.score for piece in model.pieces] == [library.get_score(i) for i in range(len(tokenizer))]
    kinds = Counter(piece.kind for piece in model.pieces)
    assert (kinds[PieceKind.UNKNOWN], kinds[PieceKind.CONTROL], kinds[PieceKind.USER_DEFINED]) == (1, 3, 3)
    assert [piece.kind is PieceKind.BYTE for piece in model.pieces] == [library.is_byte(i) for i in range(350)]
    assert kinds[PieceKind.BYTE] == 256


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("normalization", ["identity", "nmt_nfkc_cf"])
def test_bpe_without_dropout_is_the_best_segmentation(lines, byte_fallback, normalization):
    section = VocabularySection(
        size=350 if byte_fallback else 90,
        byte_fallback=byte_fallback,
        user_defined_symbols=SYMBOLS,
        normalization=normalization,
    )
    tokenizer = learn_tokenizer(iter(lines), section)
    assert tokenizer.sample(lines + ODD, 0.0, range(len(lines + ODD))) == tokenizer.encode(lines + ODD)


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_the_sharpest_unigram_sample_is_the_best_segmentation(lines, byte_fallback):
    section = VocabularySection(
        size=320 if byte_fallback else 60, type="unigram", byte_fallback=byte_fallback, user_defined_symbols=["<2de>"]
    )
    tokenizer = learn_tokenizer(iter(lines), section)
    drawn, best = (tokenizer.sample(lines + ODD, 1e4, range(len(lines + ODD))), tokenizer.encode(lines + ODD))
    assert drawn == best


@pytest.mark.parametrize(("kind", "strength"), [("bpe", 0.1), ("bpe", 0.5), ("unigram", 0.2), ("unigram", 1.0)])
def test_segmentations_are_as_frequent_as_those_of_sentencepiece(lines, processor, kind, strength):
    tokenizer = learn_tokenizer(iter(lines), VocabularySection(size=60, type=kind))
    line, count = "The bird", 10_000
    ours = Counter(map(tuple, tokenizer.sample([line] * count, strength, range(count))))
    library = processor(tokenizer)
    theirs = Counter(
        tuple(library.encode(line, out_type=int, enable_sampling=True, alpha=strength, nbest_size=-1))
        for _ in range(count)
    )
    for ids, frequency in (ours + theirs).most_common(20):
        share = frequency / (2 * count)
        assert abs(ours[ids] - theirs[ids]) < 6 * (2 * count * share * (1 - share)) ** 0.5 + 1  # 6 standard deviations


def test_everything_left_out_leaves_characters(lines):
    tokenizer = learn_tokenizer(iter(lines), VocabularySection(size=90))
    [ids] = tokenizer.sample(["The dog"], 1.0, [1])
    assert tokenizer.pieces(ids) == list("▁The▁dog")


def train(lines, **options):
    import io

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, minloglevel=2, pad_id=3, **options
    )
    return Tokenizer(model.getvalue(), "x")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_that_end_with_their_space(lines, kind):
    tokenizer = train(lines, vocab_size=60, model_type=kind, treat_whitespace_as_suffix=True)
    drawn = tokenizer.sample(lines, 0.2, range(len(lines)))
    assert tokenizer.decode_batch(drawn) == tokenizer.decode_batch(tokenizer.encode(lines))
    assert drawn != tokenizer.encode(lines)
    if kind == "bpe":
        assert tokenizer.sample(lines, 0.0, range(len(lines))) == tokenizer.encode(lines)


@pytest.mark.parametrize("kind", ["char", "word"])
def test_models_of_one_segmentation_keep_it(lines, kind):
    tokenizer = train(lines, vocab_size=40, model_type=kind, hard_vocab_limit=False)
    assert tokenizer.sample(lines, 0.2, range(len(lines))) == tokenizer.encode(lines)
    with pytest.raises(ValueError, match="one segmentation"):
        RandomSegmenter(SpmFile.parse(tokenizer.serialized), 0.2, str)


def test_words_forgotten_are_segmented_as_before(lines, monkeypatch):
    section = VocabularySection(size=80)
    remembered = learn_tokenizer(iter(lines), section).sample(lines, 0.3, range(len(lines)))
    monkeypatch.setattr("mtkit.corpus.segmentation._CACHED_WORDS", 3)
    assert learn_tokenizer(iter(lines), section).sample(lines, 0.3, range(len(lines))) == remembered
