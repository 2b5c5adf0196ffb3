"""A translation does not depend on the sentences that are translated beside it, nor on the number of threads."""

import random

import pytest
import torch

from mtkit.config.decoding import DecodingSection
from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import learn_tokenizer
from mtkit.decoding.translator import Translator
from mtkit.model.packed import prepare_for_inference
from mtkit.model.transformer import build_model
from mtkit.runtime.device import has_int8, set_threads

PAD, UNK, BOS, EOS = range(4)
CPU = torch.device("cpu")
NOUNS = [
    "dog",
    "cat",
    "man",
    "woman",
    "house",
    "street",
    "child",
    "bird",
    "tree",
    "boat",
    "horse",
    "girl",
    "boy",
    "car",
]
ADJECTIVES = ["red", "big", "small", "quick", "old", "young", "green", "tall", "wet", "cold"]
VERBS = ["sees", "follows", "likes", "finds", "carries", "paints", "hears", "meets"]
PLACES = ["near", "behind", "under", "beside", "above"]
needs_int8 = pytest.mark.skipif(not has_int8(CPU), reason="this processor has no AVX512-VNNI")
TOLERANCE = 1e-4
BEAM = 4


def make_pair(generator):
    """Return a sentence, and its words spelled backwards with each adjective after its noun, which may say one of two.

    What may be said in two ways leaves a model unsure, so that many hypotheses are alike in score.
    """

    def phrase():
        noun = generator.choice(NOUNS)
        adjectives = generator.sample(ADJECTIVES, generator.randint(0, 3))
        said = noun[::-1] if generator.random() < 0.6 else noun[::-1] + "u"
        return ["the", *adjectives, noun], [said, *(adjective[::-1] for adjective in adjectives)]

    parts = [phrase()]
    for _ in range(generator.choice([0, 0, 1, 1, 2, 3])):
        link = generator.choice(VERBS + PLACES)
        parts += [([link], [link[::-1]]), phrase()]
    source, target = ([word for part in side for word in part] for side in zip(*parts, strict=True))
    return " ".join(source), " ".join(target)


def pad(rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


def train(model, pairs, steps, batch=32):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        chosen = [pairs[(step * batch + i) % len(pairs)] for i in range(batch)]
        logits = model(pad([[*source, EOS] for source, _ in chosen]), pad([[BOS, *target] for _, target in chosen]))
        labels = pad([[*target, EOS] for _, target in chosen])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.fixture(scope="module")
def trained(make_random_model):
    """The weights of a model that was trained for a few seconds, its configuration, and its vocabulary."""
    generator = random.Random(1)
    lines = [make_pair(generator) for _ in range(1500)]
    tokenizer = learn_tokenizer((side for pair in lines for side in pair), VocabularySection(size=200))
    fields = {
        "src_vocab_size": len(tokenizer), "tgt_vocab_size": len(tokenizer), "d_model": 64, "d_ff": 128, "num_heads": 4,
        "num_encoder_layers": 1, "max_positions": 128, "tied_embeddings": "all",
    }  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        model = make_random_model(**fields).train()
        sides = (tokenizer.encode(list(side)) for side in zip(*lines, strict=True))
        train(model, list(zip(*sides, strict=True)), steps=120)
    torch.set_num_threads(threads)
    return model.config, model.state_dict(), tokenizer


@pytest.fixture(scope="module")
def lines():
    generator = random.Random(2)
    return [make_pair(generator)[0] for _ in range(200)]


@pytest.fixture
def load(trained):
    """Return a function that gives a translator of some precision and batch size."""

    def load(precision, batch_size, **decoding):
        config, weights, tokenizer = trained
        model = build_model(config).eval()
        model.load_state_dict(weights)
        prepare_for_inference(model, precision)
        section = DecodingSection(batch_size=batch_size, precision=precision, **{"beam_size": BEAM, **decoding})
        return Translator(model, tokenizer, tokenizer, section)

    return load


def translate(translator, lines, threads=1):
    set_threads(threads)
    return list(translator.iter_translations(lines))


@pytest.fixture(scope="module")
def alone(trained, lines):
    """Return a function that gives the translations of the lines, one at a time, in fp32."""
    found = {}

    def alone(load, beam_size=BEAM):
        if beam_size not in found:
            found[beam_size] = translate(load("fp32", 1, beam_size=beam_size), lines)
        return found[beam_size]

    return alone


def assert_same(found, expected):
    assert [translation.text for translation in found] == [translation.text for translation in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.num_tokens == other.num_tokens
        assert one.log_prob == pytest.approx(other.log_prob, abs=TOLERANCE * one.num_tokens)
        assert one.alternatives[0].token_log_probs == pytest.approx(
            other.alternatives[0].token_log_probs, abs=TOLERANCE
        )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_batches_and_threads_change_nothing(load, alone, lines, batch_size, threads):
    assert_same(translate(load("fp32", batch_size), lines, threads), alone(load))


@pytest.mark.parametrize("batch_size", [7, 64])
def test_the_order_of_the_lines_changes_nothing(load, alone, lines, batch_size):
    """Sentences of any lengths share a batch, where the translator cannot sort them."""
    translator, backwards = load("fp32", batch_size), lines[::-1]
    chunks = [backwards[start : start + batch_size] for start in range(0, len(lines), batch_size)]
    found = [translation for chunk in chunks for translation in translate(translator, chunk)]
    assert_same(found[::-1], alone(load))


def test_greedy_search_is_as_independent(load, alone, lines):
    assert_same(translate(load("fp32", 64, beam_size=1), lines, threads=2), alone(load, 1))


def test_two_threads_translate_single_sentences_as_one_does(load, alone, lines):
    assert_same(translate(load("fp32", 1), lines[:50], threads=2), alone(load)[:50])


def test_the_sentences_are_worth_comparing(load, alone):
    """They differ in length, come to their end, and are not what the model is sure of."""
    found = alone(load)
    assert len({translation.text for translation in found}) > 150
    assert sum(translation.is_cut for translation in found) < 10
    lengths = [translation.num_tokens for translation in found]
    assert max(lengths) >= 3 * min(lengths)
    unsure = [min(translation.alternatives[0].token_log_probs) < -0.3 for translation in found]
    assert sum(unsure) > 100
    greedy = alone(load, 1)
    assert any(one.text != other.text for one, other in zip(found, greedy, strict=True))


@needs_int8
def test_int8_gives_the_same_text_in_any_batch(load, lines):
    texts = [
        [translation.text for translation in translate(load("int8", batch_size), lines[:100], threads)]
        for batch_size, threads in ((1, 1), (7, 2), (64, 1))
    ]
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=needs_int8)])
def test_lower_precisions_say_much_the_same(load, alone, lines, precision):
    found = translate(load(precision, 64), lines)
    assert len(found) == len(lines)
    assert all(translation.text for translation in found)
    same = [one.text == other.text for one, other in zip(found, alone(load), strict=True)]
    assert sum(same) >= 0.8 * len(lines)
