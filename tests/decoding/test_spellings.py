"""What is forbidden as a text is not produced, in whatever pieces; held against what the texts themselves hold."""

import random

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.decoding.glossary import is_word_edge
from mtkit.decoding.guidance import Guidance, Spellings
from mtkit.decoding.search import search
from mtkit.decoding.spellings import Speller, SpellingTracker
from mtkit.errors import DataError

EOS = 3
LINES = [
    "the dog sees the house.",
    "a doghouse (dog) and do-good",
    "“dog” 100% of 5 %",
    "dogs do go; go! go",
    "狗。é e",
]
WHOLE = ["x-dog", "adog", "dog;go", "dogma"]
PHRASES = ["dog", "the dog", "do", "%", "100%", "狗", "go;", "(dog)", "é", "§"]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request):
    section = VocabularySection(
        type=request.param, size=294, byte_fallback=True, user_defined_symbols=WHOLE, character_coverage=1
    )
    return learn_tokenizer(iter(LINES * 20), section)


@pytest.fixture(scope="module")
def texts(tokenizer):
    """What each token is decoded to between others."""
    e = tokenizer.encode(["e"])[0]
    return [tokenizer.decode([*e, i])[1:] for i in range(len(tokenizer))]


def completes(before, token, phrase):
    """Whether a token ends the phrase: at its own end, or where a word ends."""
    text = before + token
    return any(
        text.startswith(phrase, place)
        and is_word_edge(text, place)
        and (place + len(phrase) == len(text) or is_word_edge(text, place + len(phrase)))
        for place in range(len(text))
        if place + len(phrase) > len(before)
    )


@pytest.mark.parametrize("phrase", PHRASES[:-1])
def test_what_is_ruled_out_is_what_would_end_the_phrase(tokenizer, texts, phrase):
    tracker = SpellingTracker([Speller(tokenizer).find(phrase)])
    draw = random.Random(1)
    pieces = [i for i in range(4, len(tokenizer)) if "\ufffd" not in texts[i]]
    wanted = f" {phrase}"

    def find_begun(text):
        return max(k for k in range(len(wanted)) if text.endswith(wanted[:k]))

    num_ends = 0
    for _ in range(30):
        prefix, before = (), ""
        for _ in range(8):
            expected = {i for i in pieces if completes(before, texts[i], phrase)}
            assert tracker.find_last(prefix) & set(pieces) == expected
            num_ends += len(expected)
            # Mostly what goes on with the phrase.
            near = [i for i in pieces if find_begun(before + texts[i]) > find_begun(before)]
            token = draw.choice(near if near and draw.random() < 0.9 else pieces)
            prefix, before = (*prefix, token), before + texts[token]
    assert num_ends > 20


def test_all_pieces_that_spell_a_word(tokenizer):
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))}
    tracker = SpellingTracker([Speller(tokenizer).find("dog")])

    def is_out(*pieces):
        *before, last = (ids[piece] for piece in pieces)
        return last in tracker.find_last(tuple(before))

    assert is_out("▁", "d", "o", "g")
    assert is_out("d", "<0x6F>", "g")
    assert is_out("(", "d", "o", "g")
    assert is_out("%", "▁", "d", "o", "g")
    assert is_out("e", "x-dog")
    assert is_out("▁", "dog;go")
    assert is_out("<unk>", "d", "o", "g")
    assert not is_out("▁", "dogma")
    assert not is_out("▁", "adog")
    assert not is_out("e", "d", "o", "g")
    assert not is_out("▁", "d", "o", "o", "g")


@pytest.mark.parametrize("settings", [{"beam_size": 4, "n_best": 4}, {"sampling": True, "n_best": 9}])
def test_no_translation_holds_what_is_forbidden(make_model, tokenizer, settings):
    model = make_model(len(tokenizer), output_bias=True)
    pieces = tokenizer.pieces(range(len(tokenizer)))
    spelling = [i for i, piece in enumerate(pieces) if piece == "▁" or piece.strip("▁") in {"d", "o", "g", "do", "dog"}]
    with torch.no_grad():
        model.output_proj.bias[spelling] = 4.0
    speller = Speller(tokenizer)
    sources = torch.tensor([[i, i + 1, EOS] for i in range(4, 19)])

    def count(forbidden):
        decoding = DecodingSection(**settings, max_length_extra=12)
        with torch.inference_mode():
            found = search(model, sources, decoding, [Guidance(forbidden=forbidden, seed=i) for i in range(15)])
        texts = tokenizer.decode_batch([h.token_ids for n_best in found for h in n_best])
        return sum(f" {text} ".count(" dog ") + f" {text} ".count(" do ") for text in texts)

    assert count(()) > 0
    assert count((speller.find("dog"), speller.find("do"))) == 0


@pytest.mark.parametrize("allowed", [1, 2])
def test_a_limited_phrase_may_end_so_often(tokenizer, allowed):
    spellings = Speller(tokenizer).find("dog")
    limited, forbidden = SpellingTracker([spellings], allowed), SpellingTracker([spellings])
    once = tuple(tokenizer.encode(["the dog sees the "])[0])
    for number in range(4):
        prefix = once * number
        expected = forbidden.find_last(prefix) if number >= allowed else set()
        assert limited.find_last(prefix) == expected
    assert forbidden.find_last(once)


def test_no_translation_holds_more_than_is_allowed(make_model, tokenizer):
    model = make_model(len(tokenizer), output_bias=True)
    pieces = tokenizer.pieces(range(len(tokenizer)))
    with torch.no_grad():
        model.output_proj.bias[[i for i, piece in enumerate(pieces) if piece in {"d", "o", "g", "do", "dog"}]] = 4.0
        model.output_proj.bias[[i for i, piece in enumerate(pieces) if piece in {"▁", "▁do", "▁dog"}]] = 5.0
    limited = ((Speller(tokenizer).find("dog"), 1),)
    sources = torch.tensor([[i, i + 1, EOS] for i in range(4, 19)])

    def count(limited):
        decoding = DecodingSection(sampling=True, n_best=9, max_length_extra=40)
        with torch.inference_mode():
            found = search(model, sources, decoding, [Guidance(limited=limited, seed=i) for i in range(15)])
        texts = tokenizer.decode_batch([h.token_ids for n_best in found for h in n_best])
        return max(text.split().count("dog") for text in texts)

    assert count(()) > 1
    assert count(limited) == 1


def test_phrases_do_not_get_into_each_others_way(tokenizer):
    speller, draw = Speller(tokenizer), random.Random(2)
    alone = [SpellingTracker([speller.find(phrase)]) for phrase in PHRASES]
    together = SpellingTracker([speller.find(phrase) for phrase in PHRASES])
    pieces = sorted({i for phrase in PHRASES for i in tokenizer.encode([f"{phrase} ({phrase}"])[0]})
    for _ in range(200):
        prefix = tuple(draw.choices(pieces, k=draw.randint(0, 8)))
        assert together.find_last(prefix) == set().union(*(tracker.find_last(prefix) for tracker in alone))


def test_spellings_are_few(tokenizer):
    spellings = Speller(tokenizer).find("the dog sees the house. " * 20)
    assert isinstance(spellings, Spellings)
    assert len(spellings.edges) < 6000


def test_what_cannot_be_spelled(tokenizer):
    for phrase in ("", " "):
        with pytest.raises(DataError, match="empty phrase"):
            Speller(tokenizer).find(phrase)
    plain = learn_tokenizer(iter(LINES * 20), VocabularySection(size=60))
    with pytest.raises(DataError, match="cannot spell the phrase '§'"):
        Speller(plain).find("§")
