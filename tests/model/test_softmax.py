import pytest
import torch

from mtkit.model.softmax import softmax, softmax_backward


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 32, 40])  # below, at and above a vector of 64 bytes
def test_is_torchs_own_whatever_the_length(dtype, length):
    torch.manual_seed(length)
    scores = torch.randn(2, 3, 4, length).to(dtype)
    scores[0, 0, 0, : length - 1] = -torch.inf
    weights = softmax(scores)
    expected = torch.softmax(scores, dim=-1)
    assert (weights.dtype, weights.shape) == (dtype, scores.shape)
    assert weights.is_contiguous()
    assert torch.allclose(weights, expected, rtol=torch.finfo(dtype).eps * 4, atol=0)
    grad = torch.randn(2, 3, 4, length).to(dtype)
    ours = softmax_backward(grad, expected)
    theirs = torch._softmax_backward_data(grad, expected, -1, dtype)
    assert ours.is_contiguous()
    assert torch.allclose(ours, theirs, rtol=0.02 if dtype == torch.bfloat16 else 1e-5, atol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("length", [8, 15])
def test_short_rows_are_computed_as_whole_vectors(monkeypatch, length):
    lengths = []
    compute = torch.softmax
    monkeypatch.setattr(torch, "softmax", lambda x, dim: lengths.append(x.size(dim)) or compute(x, dim=dim))
    softmax(torch.randn(3, length))
    softmax(torch.randn(3, length).bfloat16())
    assert lengths == [16, 32]
