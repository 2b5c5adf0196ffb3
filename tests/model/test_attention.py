import pytest
import torch
from torch import nn

from mtkit.model.attention import attention_weights, scaled_dot_product_attention
from mtkit.model.dropout import Dropout


@pytest.fixture
def layer(make_model):
    return make_model().decoder_layers[0]


def test_self_attention_equals_torchs(layer):
    ours = layer.self_attention
    theirs = nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.float64)
    theirs.in_proj_weight.data.copy_(ours.qkv_proj.weight)
    theirs.in_proj_bias.data.copy_(ours.qkv_proj.bias)
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    x = torch.randn(2, 6, 16, dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    expected, _ = theirs(x, x, x, attn_mask=~mask, need_weights=False)
    assert (ours(x, mask) - expected).abs().max() < 1e-10


def test_cross_attention_equals_torchs(layer):
    ours = layer.cross_attention
    theirs = nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.float64)
    theirs.in_proj_weight.data.copy_(torch.cat([ours.q_proj.weight, ours.kv_proj.weight]))
    theirs.in_proj_bias.data.copy_(torch.cat([ours.q_proj.bias, ours.kv_proj.bias]))
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    x, memory = torch.randn(2, 5, 16, dtype=torch.float64), torch.randn(2, 7, 16, dtype=torch.float64)
    is_real = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    expected, _ = theirs(x, memory, memory, key_padding_mask=~is_real, need_weights=False)
    assert (ours(x, memory, is_real[:, None, None, :]) - expected).abs().max() < 1e-10


def test_equals_the_published_formula():
    q, k, v = (torch.randn(2, 3, 4, 8, dtype=torch.float64) for _ in range(3))
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    for head in range(3):
        scores = q[0, head] @ k[0, head].T / 8**0.5
        scores[~mask] = -torch.inf
        weights = scores.exp() / scores.exp().sum(1, keepdim=True)
        assert torch.allclose(attention_weights(q, k, mask)[0, head], weights)
        assert torch.allclose(scaled_dot_product_attention(q, k, v, mask)[0, head], weights @ v[0, head])


def test_a_masked_key_gets_no_weight():
    q, k = torch.randn(1, 1, 3, 8), torch.randn(1, 1, 5, 8)
    mask = torch.tensor([True, True, False, True, False])
    weights = attention_weights(q, k, mask)
    assert torch.equal(weights[..., ~mask], torch.zeros(1, 1, 3, 2))
    assert torch.allclose(weights.sum(-1), torch.ones(1, 1, 3))


def test_attention_dropout_acts_in_training_only():
    q = k = v = torch.randn(1, 1, 50, 8)
    dropout = Dropout(0.5)
    plain = scaled_dot_product_attention(q, k, v, None)
    assert not torch.allclose(scaled_dot_product_attention(q, k, v, None, dropout), plain)
    assert torch.allclose(scaled_dot_product_attention(q, k, v, None, dropout.eval()), plain)
