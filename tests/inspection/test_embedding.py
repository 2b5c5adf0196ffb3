import random

import numpy as np
import pytest
import torch

from mtkit.checkpoint.model_folder import load_model
from mtkit.config.decoding import DecodingSection
from mtkit.errors import DeviceError, ModelError, RecipeError
from mtkit.inspection.embedding import Embedder

POOLINGS = ["mean", "max", "first"]
WORDS = [
    "the",
    "a",
    "dog",
    "cat",
    "man",
    "woman",
    "runs",
    "sees",
    "over",
    "street",
    "red",
    "big",
    "and",
    "that",
    "it",
    "was",
]
CPU = torch.device("cpu")


def make_lines(count, longest=30):
    draw = random.Random(2)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) + "." for _ in range(count)]


@pytest.fixture(scope="module")
def tokenizer(model_folder):
    return load_model(model_folder, CPU).source_tokenizer


@pytest.fixture
def make_embedder(make_random_model, tokenizer):
    """Return a function that gives an embedder of a random model with three layers."""

    def make(pooling="mean", layer=None, **decoding):
        size = len(tokenizer)
        model = make_random_model(
            3, src_vocab_size=size, tgt_vocab_size=size, num_encoder_layers=3, num_decoder_layers=1, max_positions=512
        )
        return Embedder(model, tokenizer, DecodingSection(**decoding), pooling=pooling, layer=layer)

    return make


@torch.inference_mode()
def states_of(embedder, line, tag=None):
    """The encoder's states of a line alone: the tag's, if any, those of its tokens, and EOS's."""
    head = [] if tag is None else [embedder.tokenizer.find_symbol(tag)]
    token_ids = [*head, *embedder.tokenizer.encode([line], threads=1)[0], embedder.tokenizer.eos_id]
    return embedder.model.encode(torch.tensor([token_ids]))[0][0]


@pytest.mark.parametrize("tag", [None, "<2de>"])
def test_the_states_of_the_text_alone_are_pooled(make_embedder, tag):
    line = "the big dog sees a cat."
    states = states_of(make_embedder(), line, tag)[0 if tag is None else 1 : -1]
    expected = {"mean": states.mean(0), "max": states.amax(0), "first": states[0]}
    for pooling in POOLINGS:
        vector = make_embedder(pooling).embed([line], tag)[0]
        np.testing.assert_allclose(vector, expected[pooling].numpy(), atol=1e-6)
        assert vector.dtype == np.float32


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_vector_does_not_depend_on_the_lines_beside_it(make_embedder, pooling):
    lines = make_lines(60)
    together = make_embedder(pooling, batch_size=64).embed(lines)
    alone = np.concatenate([make_embedder(pooling).embed([line]) for line in lines])
    in_batches = make_embedder(pooling, batch_size=7, batch_tokens=100).embed(lines[::-1])[::-1]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(together, in_batches, rtol=0, atol=1e-6)
    assert len(np.unique(together.round(4), axis=0)) > 50  # they are not all alike


def test_a_loaded_model_gives_the_same_alone_and_in_a_batch(model_folder):
    embedder = Embedder.load(model_folder, device="cpu")
    lines = make_lines(40)
    alone = np.concatenate([embedder.embed([line]) for line in lines])
    np.testing.assert_allclose(embedder.embed(lines), alone, rtol=0, atol=1e-6)


def test_bf16_comes_close(model_folder):
    lines = make_lines(20)
    exact = Embedder.load(model_folder, device="cpu").embed(lines)
    rough = Embedder.load(model_folder, device="cpu", decoding=DecodingSection(precision="bf16")).embed(lines)
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.1


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_empty_line_has_a_vector_of_zeros(make_embedder, pooling):
    embedder = make_embedder(pooling)
    vectors = embedder.embed(["the dog", "", "a cat", " \t ", "\0"], "<2de>")
    assert [bool(vector.any()) for vector in vectors] == [True, False, True, False, False]
    counts = embedder.take_counts()
    assert (counts.num_lines, counts.num_empty, counts.num_split) == (5, 3, 0)
    assert embedder.take_counts().num_lines == 0
    assert embedder.embed([]).shape == (0, 16)


def test_a_long_line_is_embedded_in_parts(make_embedder, tokenizer):
    parts = ["the dog sees a cat and that.", "a man runs."]
    weights = [len(ids) for ids in tokenizer.encode(parts, threads=1)]
    limit = weights[0] + 1
    means = make_embedder("mean").embed(parts, "<2de>")
    embedder = make_embedder("mean", max_source_tokens=limit)
    vectors = embedder.embed([" ".join(parts), parts[0]], "<2de>")
    np.testing.assert_allclose(vectors[0], np.average(means, axis=0, weights=weights), atol=1e-6)
    np.testing.assert_allclose(vectors[1], means[0], atol=1e-6)
    counts = embedder.take_counts()
    assert (counts.num_split, counts.num_tokens) == (1, sum(weights) + weights[0])
    firsts = make_embedder("first").embed(parts, "<2de>")
    vector = make_embedder("first", max_source_tokens=limit).embed([" ".join(parts)], "<2de>")[0]
    np.testing.assert_allclose(vector, np.average(firsts, axis=0, weights=weights), atol=1e-6)
    largest = make_embedder("max").embed(parts, "<2de>").max(0)
    vector = make_embedder("max", max_source_tokens=limit).embed([" ".join(parts)], "<2de>")[0]
    np.testing.assert_allclose(vector, largest, atol=1e-6)


def test_a_layer_is_what_the_encoder_would_give_without_those_above(make_embedder):
    line = "the big dog sees a cat."
    whole = make_embedder()
    seen = []
    for layer in whole.model.encoder_layers:
        layer.register_forward_hook(lambda _, inputs, output: seen.append(output))
    states_of(whole, line)
    for number in (1, 2, 3):
        with torch.inference_mode():
            expected = whole.model.encoder_norm(seen[number - 1])[0, :-1].mean(0)
        np.testing.assert_allclose(make_embedder(layer=number).embed([line])[0], expected.numpy(), atol=1e-6)
    assert np.array_equal(make_embedder(layer=3).embed([line]), make_embedder().embed([line]))


@pytest.mark.parametrize("layer", [0, 4])
def test_a_layer_that_is_not_there(make_embedder, layer):
    with pytest.raises(RecipeError, match=f"no layer {layer}") as caught:
        make_embedder(layer=layer)
    assert caught.value.fix == "give a layer from 1 to 3"


def test_the_tag_decides(make_embedder):
    embedder = make_embedder(tag="<2de>")
    plain = make_embedder().embed(["the dog"])
    assert not np.allclose(embedder.embed(["the dog"]), plain, atol=1e-3)
    np.testing.assert_array_equal(embedder.embed(["the dog"]), make_embedder().embed(["the dog"], "<2de>"))
    with pytest.raises(ModelError, match="<2fr>"):
        make_embedder(tag="<2fr>")
    with pytest.raises(ModelError, match="<2fr>"):
        embedder.embed(["the dog"], "<2fr>")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_tag_at_the_beginning_of_a_line_is_no_text(make_embedder, tokenizer, monkeypatch, pooling):
    lines = make_lines(6)
    expected = [make_embedder(pooling).embed([line], tag)[0] for line in lines for tag in (None, "<2de>")]

    def split_tag(line):  # as the vocabularies of OPUS-MT do
        return ("<2de>", line.removeprefix("<2de>")) if line.startswith("<2de>") else (None, line)

    monkeypatch.setattr(tokenizer, "split_tag", split_tag)
    tagged = [f"{tag}{line}" for line in lines for tag in ("", "<2de> ")]
    np.testing.assert_allclose(make_embedder(pooling).embed(tagged), expected, rtol=0, atol=1e-6)
    embedder = make_embedder(pooling, tag="<2de>")
    np.testing.assert_allclose(embedder.embed(tagged), [expected[i | 1] for i in range(12)], rtol=0, atol=1e-6)


def test_a_batch_too_large_for_the_memory_is_halved(make_embedder):
    lines = make_lines(30)
    expected = make_embedder().embed(lines)
    embedder = make_embedder()
    encode = embedder.model.encode
    sizes = []

    def encode_little(src_ids):
        sizes.append(len(src_ids))
        if src_ids.numel() > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return encode(src_ids)

    embedder.model.encode = encode_little
    most = 400
    np.testing.assert_allclose(embedder.embed(lines), expected, atol=1e-6)
    assert sizes[0] == 30
    most = 1
    with pytest.raises(DeviceError, match="a single sentence"):
        embedder.embed(lines)
