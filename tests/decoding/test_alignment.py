"""Alignment by attention, on random models and one built to attend to the word that it is given."""

import io
import math
from functools import partial

import pytest
import sentencepiece
import torch

from mtkit.config.vocabulary import VocabularySection
from mtkit.corpus.tokenizer import Tokenizer, learn_tokenizer
from mtkit.decoding.alignment import (
    check_layer,
    decode_with_replacements,
    find_replacements,
    find_words,
    join_weights,
    link,
    link_words,
    spell,
    weigh,
)
from mtkit.errors import RecipeError

PAD, UNK, BOS, EOS = range(4)


@pytest.fixture
def make_model(make_model):
    """The shared function, for models of three decoder layers with one embedding for all."""
    return partial(make_model, vocab=20, sharpness=1, num_heads=4, num_decoder_layers=3, tied_embeddings="all")


SOURCES = [[5, 6, 7, EOS], [8, EOS], [9, 10, 11, 12, 13, 14, EOS], [EOS]]
TARGETS = [[4, 15, 16, 17], [18], [], [5, 6]]


def weigh_plainly(model, source, target, layer):
    """The heads' mean of softmax(Q K^T / sqrt(d)), at all inputs of the decoder, from the module's matrices."""
    memory, mask = model.encode(torch.tensor([source]))
    ids = torch.tensor([[BOS, *target]])
    x = model.target_positions(model.target_embedding(ids) * math.sqrt(model.config.d_model))
    causal = torch.ones(ids.size(1), ids.size(1), dtype=torch.bool).tril()
    for below in model.decoder_layers[: layer - 1]:
        x = below(x, causal, memory, mask)
    module = model.decoder_layers[layer - 1]
    residual = module.self_attention_residual
    if model.config.norm == "pre":
        x = x + module.self_attention(residual.norm(x), causal)
        x = module.cross_attention_residual.norm(x)
    else:
        x = residual.norm(x + module.self_attention(x, causal))
    attention, width = module.cross_attention, model.config.d_model
    queries = attention.q_proj(x)[0]
    keys = memory[0] @ attention.kv_proj.weight[:width].T + attention.kv_proj.bias[:width]
    size = width // model.config.num_heads
    heads = [slice(start, start + size) for start in range(0, width, size)]
    return torch.stack([(queries[:, h] @ keys[:, h].T / math.sqrt(size)).softmax(-1) for h in heads]).mean(0)


@torch.inference_mode()
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("layer", [1, 3])
def test_weights_are_those_of_the_step(make_model, norm, layer):
    model = make_model(norm=norm)
    for source, target in zip(SOURCES, TARGETS, strict=True):
        expected = weigh_plainly(model, source, target, layer)[:, : len(source) - 1]
        for step, rows in (("input", expected[1:]), ("output", expected[:-1])):
            (found,) = weigh(model, torch.tensor([source]), [target], layer, step=step)
            assert found.shape == (len(target), len(source) - 1)
            torch.testing.assert_close(found, rows, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_the_default_is_the_mean_of_all_layers_in_the_step_that_produces_the_token(make_model):
    model = make_model()
    layers = [weigh(model, torch.tensor([SOURCES[0]]), [TARGETS[0]], layer, step="output")[0] for layer in (1, 2, 3)]
    (found,) = weigh(model, torch.tensor([SOURCES[0]]), [TARGETS[0]])
    torch.testing.assert_close(found, torch.stack(layers).mean(0))
    assert not torch.allclose(layers[0], layers[1])


@torch.inference_mode()
@pytest.mark.parametrize("layer", [2, None])
def test_a_sentence_alone_is_the_sentence_in_a_batch(make_model, pad, layer):
    model = make_model()
    together = weigh(model, pad(SOURCES), TARGETS, layer)
    for source, target, found in zip(SOURCES, TARGETS, together, strict=True):
        alone = weigh(model, torch.tensor([source]), [target], layer)[0]
        torch.testing.assert_close(found, alone, atol=1e-6, rtol=0)
        assert link(found) == link(alone)
    assert [len(link(weights)) for weights in together] == [4, 1, 0, 0]


class Written:
    """A model whose attention is written down."""

    def __init__(self, config, weights):
        self.config = config
        self.weights = torch.tensor(weights)

    def encode(self, src_ids):
        return src_ids, src_ids != PAD

    def attend_source(self, tgt_ids, memory, memory_mask, layer):
        return self.weights


def test_eos_and_tags_are_left_out(make_model):
    # Two heads, inputs BOS and two words; the source has a tag, two words and EOS.
    model = Written(
        make_model().config,
        [[[[0.0] * 4, [0.5, 0.1, 0.3, 0.1], [0.1, 0.1, 0.1, 0.7]], [[0.0] * 4] * 2 + [[0.1, 0.3, 0.1, 0.5]]]],
    )
    source, target = torch.tensor([[5, 6, 7, EOS]]), [[8, 9]]
    (weights,) = weigh(model, source, target, 1, [1], step="input")
    torch.testing.assert_close(weights, torch.tensor([[0.05, 0.15], [0.2, 0.1]]))
    assert link(weights) == [(1, 0), (0, 1)]
    assert link(weigh(model, source, target, 1, step="input")[0]) == [(0, 0), (1, 1)]


def test_a_link_is_the_largest_share_not_the_largest_weight():
    # Both target words look at the last source word most, but it is the second's: the first has all of source word 0.
    weights = torch.tensor([[0.4, 0.0, 0.5], [0.0, 0.1, 0.9]])
    assert link(weights) == [(0, 0), (2, 1)]
    # A word that is alone has the source word of greatest weight, and not the first of those that are its own.
    assert link(torch.tensor([[0.1, 0.2, 0.6, 0.1]])) == [(2, 0)]
    # What hardly anybody looks at is nobody's largest share by accident.
    assert link(torch.tensor([[0.001, 0.9, 0.099], [0.0, 0.6, 0.4]])) == [(1, 0), (2, 1)]
    assert link(torch.zeros(0, 3)) == link(torch.zeros(3, 0)) == []


@pytest.fixture
def dictionary(make_model):
    """A model whose decoder attends to the source word of the same id as its input, by its weights alone."""
    model = make_model(d_model=32, num_heads=1, num_decoder_layers=1)
    decoder = model.decoder_layers[0]
    with torch.no_grad():
        for positions in (model.source_positions, model.target_positions):
            for buffer in positions.buffers():
                buffer.zero_()
        for module in (*model.encoder_layers, decoder):
            module.self_attention.out_proj.weight.zero_()
        model.encoder_layers[0].feed_forward.outer.weight.zero_()
        decoder.cross_attention.q_proj.weight.copy_(torch.eye(32))
        decoder.cross_attention.kv_proj.weight[:32] = torch.eye(32)
    return model


@torch.inference_mode()
def test_a_model_that_attends_to_the_word_it_is_given_aligns_it(pad, dictionary):
    sources = [[4, 5, 6, 7, EOS], [19, 18, 17, 16, 15, 14, EOS]]
    orders = [[0, 1, 2, 3], [3, 5, 0, 1, 4, 2]]
    targets = [[source[place] for place in order] for source, order in zip(sources, orders, strict=True)]
    expected = [[(place, number) for number, place in enumerate(order)] for order in orders]
    assert [link(weights) for weights in weigh(dictionary, pad(sources), targets, 1, step="input")] == expected


def test_a_layer_that_is_not_there():
    check_layer(None, 6)
    check_layer(6, 6)
    with pytest.raises(RecipeError, match="no decoder layer 7: the model has 6"):
        check_layer(7, 6)


def test_words_of_pieces():
    assert find_words(["▁The", "▁l", "ove", "ly", "▁", "do", "g", "."]) == [0, 1, 1, 1, 2, 2, 2, 2]
    assert find_words(["The▁", "do", "g▁"]) == [0, 1, 1]
    assert find_words(["▁on▁the", "▁way"]) == [0, 2]
    assert find_words(["▁x", "▁"]) == [0, 0]
    assert find_words(["▁10", "\u00a0", "000", "\u3000x\u2028"]) == [0, 1, 1, 2]
    assert find_words([]) == []


def test_weights_of_words_are_sums_over_keys_and_means_over_queries():
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.4, 0.0], [0.2, 0.2, 0.2, 0.4]])
    joined = join_weights(weights, [0, 0, 1, 1], [0, 0, 1])
    torch.testing.assert_close(joined, torch.tensor([[0.45, 0.55], [0.4, 0.6]]))
    torch.testing.assert_close(joined.sum(1), torch.ones(2))
    # A word that no token begins has neither weights nor links.
    assert join_weights(weights, [0, 0, 2, 2], [0, 0, 2]).shape == (3, 3)
    assert link_words(weights, [0, 0, 2, 2], [0, 0, 2]) == [(0, 0), (2, 2)]
    assert link_words(torch.zeros(0, 0), [], []) == []


LINES = ["the dog runs over the street.", "a cat sees the big red house", "das Haus und der Hund, die Katze (dort)"] * 5


def learn_words():
    model = io.BytesIO()
    special = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=model, model_type="word", vocab_size=20, **special
    )
    return Tokenizer(model.getvalue(), "words")


@pytest.fixture(scope="module", params=["bpe", "unigram", "word"])
def tokenizer(request):
    if request.param == "word":
        return learn_words()
    return learn_tokenizer(iter(LINES), VocabularySection(size=37, type=request.param))


@pytest.mark.parametrize(
    "line", ["the 犬 runs", "Åse", "Åse runs", "the dog, Åse.", "the Å-Ø dog", "the big dog (ÅÆ) runs.", "the red ÅÆ"]
)
def test_unknown_words_come_back_in_their_places(tokenizer, line):
    # A translation that is its source, with the links of a copy.
    [token_ids] = tokenizer.encode([line])
    assert tokenizer.unk_id in token_ids
    links = [(place, place) for place in range(len(token_ids))]
    surfaces = tokenizer.surfaces(line)
    replacements = find_replacements(token_ids, links, surfaces, token_ids, tokenizer.unk_id)
    assert set(replacements) == {place for place, token_id in enumerate(token_ids) if token_id == tokenizer.unk_id}
    assert decode_with_replacements(tokenizer, token_ids, replacements) == line
    assert decode_with_replacements(tokenizer, token_ids, {}) == tokenizer.decode(token_ids)


def test_unknown_words_without_a_replacement_stay(tokenizer):
    [token_ids] = tokenizer.encode(["Åse the dog"])
    text = tokenizer.decode(token_ids)
    assert decode_with_replacements(tokenizer, token_ids, {}) == text
    assert "⁇" in text


@pytest.mark.parametrize(
    "line", ["the\u00a0dog \u3000 runs", "the\u2028a", "the犬 runs", "the 犬🎉犬 犬\u2003cat.", "Å"]
)
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_words_are_those_of_the_translation(tokenizer, line, byte_fallback):
    if byte_fallback:
        tokenizer = learn_tokenizer(iter(LINES), VocabularySection(size=300, byte_fallback=True))
    [token_ids] = tokenizer.encode([line])
    replacements = {place: "x" for place, token_id in enumerate(token_ids) if token_id == tokenizer.unk_id}
    for replaced in ({}, replacements):
        text = decode_with_replacements(tokenizer, token_ids, replaced)
        texts = spell(tokenizer, token_ids, replaced)
        assert len(texts) == len(token_ids)
        assert "".join(texts).replace("▁", " ").split() == text.split()
        assert set(find_words(texts)) == set(range(len(text.split())))


def test_words_in_a_row_have_a_space_between_them():
    tokenizer = learn_words()
    [[the]] = tokenizer.encode(["the"])
    assert decode_with_replacements(tokenizer, [UNK, UNK, the, UNK], {0: "A", 1: "B", 3: "C"}) == "A B the C"


def replace(target, links, line, tokenizer):
    [source_ids] = tokenizer.encode([line])
    return find_replacements(target, links, tokenizer.surfaces(line), source_ids, UNK)


@pytest.fixture(scope="module")
def characters():
    """A vocabulary of characters: of `the (dog), house`, the letters of `dog` are tokens 6 to 8."""
    lines = [*LINES, "走在街上"]
    tokenizer = learn_tokenizer(iter(lines * 5), VocabularySection(size=40, type="bpe", character_coverage=1.0))
    assert len(tokenizer.encode(["走在街上"])[0]) == 5
    return tokenizer


def test_a_known_source_word_is_copied_whole_without_its_punctuation(characters):
    line = "the (dog), house"
    [ids] = characters.encode([line])
    surfaces = characters.surfaces(line)
    place = next(place for place, surface in enumerate(surfaces) if "(" in surface)
    assert replace([UNK], [(place + 1, 0)], line, characters) == {0: "dog"}
    assert replace([5, UNK, 6, UNK], [(0, 0), (0, 1), (0, 3)], line, characters) == {1: "the", 3: "the"}
    assert replace([UNK], [(0, 0)], "...", characters) == {0: "..."}
    assert len(ids) == len(surfaces)


def test_a_run_of_unknown_tokens_copies_a_word_once(characters):
    assert replace(
        [UNK, UNK, UNK], [(0, 0), (0, 1), (len(characters.encode(["the"])[0]), 2)], "the dog", characters
    ) == {
        0: "the",
        1: "",
        2: "dog",
    }
    assert replace([UNK, 7, UNK], [(0, 0), (0, 2)], "the dog", characters) == {0: "the", 2: "the"}


def test_text_without_spaces_is_copied_by_the_token(characters):
    assert replace([UNK], [(2, 0)], "走在街上", characters) == {0: "在"}


def test_a_source_without_links_replaces_nothing(characters):
    assert replace([UNK, 5], [], "the", characters) == {}
