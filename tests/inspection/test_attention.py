"""Attention as it is recorded, beside the formula, the batch and the cached decoder."""

import math

import pytest
import torch

from mtkit.inspection.attention import record_attention, select

PAD, UNK, BOS, EOS = range(4)
SOURCES = [[5, 6, 7, 8, EOS], [9, EOS], [10, 11, 12, EOS]]
TARGETS = [[BOS, 4, 13, 14], [BOS, 15, 16, 17, 18, 19], [BOS]]


@pytest.fixture
def make_model(make_random_model):
    def make(**fields):
        values = {"num_heads": 4, "num_decoder_layers": 3, "dropout": 0.3, "attention_dropout": 0.2}
        return make_random_model(3, noise=0.1, tied_embeddings="all", **values | fields)

    return make


def attend_plainly(queries, keys, num_heads, is_causal=False):
    """softmax(Q K^T / sqrt(d_k)) of each head, from projected queries and keys, `(length, d_model)`."""
    size = queries.size(1) // num_heads
    found = []
    for start in range(0, queries.size(1), size):
        scores = queries[:, start : start + size] @ keys[:, start : start + size].T / math.sqrt(size)
        if is_causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        found.append(scores.softmax(-1))
    return torch.stack(found)


def self_attend_plainly(module, x, is_causal):
    queries, keys, _ = (x @ module.qkv_proj.weight.T + module.qkv_proj.bias).chunk(3, dim=-1)
    return attend_plainly(queries, keys, module.num_heads, is_causal)


@torch.inference_mode()
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_weights_are_a_plain_softmax_of_the_projections(make_model, norm):
    model = make_model(norm=norm)
    is_pre = norm == "pre"
    (found,) = record_attention(model, SOURCES[:1], TARGETS[:1])
    x = model.source_positions(model.source_embedding(torch.tensor(SOURCES[:1])) * 4.0)
    for layer, weights in zip(model.encoder_layers, found.encoder, strict=True):
        seen = layer.self_attention_residual.norm(x) if is_pre else x
        torch.testing.assert_close(weights, self_attend_plainly(layer.self_attention, seen[0], False))
        x = layer(x, None)
    memory = model.encoder_norm(x)
    x = model.target_positions(model.target_embedding(torch.tensor(TARGETS[:1])) * 4.0)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    for layer, own, cross in zip(model.decoder_layers, found.decoder, found.cross, strict=True):
        residual, source = layer.self_attention_residual, layer.cross_attention
        seen = residual.norm(x) if is_pre else x
        torch.testing.assert_close(own, self_attend_plainly(layer.self_attention, seen[0], True))
        after = x + layer.self_attention(seen, causal)
        after = layer.cross_attention_residual.norm(after) if is_pre else residual.norm(after)
        keys = memory[0] @ source.kv_proj.weight[:16].T + source.kv_proj.bias[:16]
        torch.testing.assert_close(cross, attend_plainly(source.q_proj(after)[0], keys, 4))
        x = layer(x, causal, memory, None)


@torch.inference_mode()
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_sentence_alone_is_the_sentence_in_a_padded_batch(make_model, norm):
    model = make_model(norm=norm)
    together = record_attention(model, SOURCES, TARGETS)
    for source, target, found in zip(SOURCES, TARGETS, together, strict=True):
        (alone,) = record_attention(model, [source], [target])
        for kind, shape in (
            ("encoder", (2, 4, len(source), len(source))),
            ("decoder", (3, 4, len(target), len(target))),
            ("cross", (3, 4, len(target), len(source))),
        ):
            assert found.of(kind).shape == shape
            torch.testing.assert_close(found.of(kind), alone.of(kind))
            torch.testing.assert_close(found.of(kind).sum(-1), torch.ones(shape[:-1]))
        assert not found.decoder.triu(1).any()


@torch.inference_mode()
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_cached_decoder_attends_alike(make_model, norm, monkeypatch):
    model = make_model(norm=norm)
    (full,) = record_attention(model, SOURCES[:1], TARGETS[:1])
    state = model.start_decoding(torch.tensor(SOURCES[:1]), 1)
    softmax, seen = torch.softmax, []
    monkeypatch.setattr(torch, "softmax", lambda *args, **options: seen.append(softmax(*args, **options)) or seen[-1])
    for place, token in enumerate(TARGETS[0]):
        seen.clear()
        model.decode_step(torch.tensor([token]), state)
        assert len(seen) == 6  # of each layer, self-attention and attention to the source
        for layer in range(3):
            own, cross = seen[2 * layer][:, 0], seen[2 * layer + 1][:, 0]  # (num_heads, positions), with padding
            for found, expected in (
                (own, full.decoder[layer, :, place, : place + 1]),
                (cross, full.cross[layer, :, place]),
            ):
                length = expected.size(1)
                torch.testing.assert_close(found[:, :length], expected)
                assert not found[:, length:].any()


def test_recording_changes_nothing(make_model):
    model = make_model()
    src_ids, tgt_ids = torch.tensor([SOURCES[0]]), torch.tensor([TARGETS[0]])
    taken = []
    memory, mask = model.encode(src_ids, lambda *args: taken.append(args))
    states = model.decode(tgt_ids, memory, mask, lambda *args: taken.append(args))
    with torch.inference_mode():
        plain_memory, _ = model.encode(src_ids)
        plain = model.decode(tgt_ids, plain_memory, mask)
    torch.testing.assert_close(memory, plain_memory)
    torch.testing.assert_close(states, plain)
    kinds = [(kind, layer) for kind, layer, _ in taken]
    decoder = [(kind, layer) for layer in range(3) for kind in ("decoder", "cross")]
    assert kinds == [("encoder", 0), ("encoder", 1), *decoder]
    # In training the weights come before dropout.
    model.train()
    model.encode(src_ids, lambda kind, layer, weights: taken.append((kind, layer, weights)))
    torch.testing.assert_close(taken[-1][2].sum(-1), torch.ones(1, 4, 5))


def test_means_of_layers_and_heads():
    weights = torch.rand(3, 4, 2, 5)
    assert torch.equal(select(weights, 2, 3), weights[1, 2])
    torch.testing.assert_close(select(weights, 2), weights[1].mean(0))
    torch.testing.assert_close(select(weights, None, 1), weights[:, 0].mean(0))
    torch.testing.assert_close(select(weights), weights.mean((0, 1)))
