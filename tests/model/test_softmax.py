import pytest
import torch

from mtkit.model import softmax as softmax_module
from mtkit.model.softmax import softmax, softmax_backward


@pytest.fixture(params=[64, 32, 0], ids=lambda size: f"{size}-bytes", autouse=True)
def vector_bytes(request, monkeypatch):
    """The length of the processor's vectors."""
    monkeypatch.setattr(softmax_module, "_vector_bytes", lambda: request.param)
    return request.param


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


def test_short_rows_are_computed_as_whole_vectors(monkeypatch, vector_bytes):
    lengths = []
    compute = torch.softmax
    monkeypatch.setattr(torch, "softmax", lambda x, dim: lengths.append(x.size(dim)) or compute(x, dim=dim))
    softmax(torch.randn(3, 5))
    softmax(torch.randn(3, 5).bfloat16())
    assert lengths == [max(5, vector_bytes // 4), max(5, vector_bytes // 2)]


@pytest.mark.parametrize(("capability", "size"), [("AVX512", 64), ("AVX2", 32), ("DEFAULT", 0), ("SVE256", 0)])
def test_the_processor_tells_how_long_its_vectors_are(monkeypatch, capability, size):
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert softmax_module._vector_bytes.__wrapped__() == size
