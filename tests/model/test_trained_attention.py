import pytest
import torch

from mtkit.model.attention import scaled_dot_product_attention
from mtkit.model.dropout import Dropout
from mtkit.model.linear import Linear
from mtkit.model.trained_attention import attend

BATCH, TGT_LEN, SRC_LEN, HEADS, D_MODEL = 3, 5, 4, 2, 8


def heads(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def reference(packed, memory, mask):
    queries, keys, values = packed.chunk(3, -1) if memory is None else (packed, *memory.chunk(2, -1))
    return scaled_dot_product_attention(heads(queries), heads(keys), heads(values), mask).transpose(1, 2).flatten(2)


@pytest.fixture(params=["self", "cross"])
def case(request):
    """Packed projections, memory, and the masks that a model gives."""
    torch.manual_seed(3)
    if request.param == "self":
        packed = torch.randn(BATCH, TGT_LEN, 3 * D_MODEL, dtype=torch.float64, requires_grad=True)
        return packed, None, torch.ones(TGT_LEN, TGT_LEN, dtype=torch.bool).tril()
    packed = torch.randn(BATCH, TGT_LEN, D_MODEL, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(BATCH, SRC_LEN, 2 * D_MODEL, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)[:, None, None, :]
    return packed, memory, mask


@pytest.mark.parametrize("is_masked", [True, False])
def test_it_is_attention(case, is_masked):
    packed, memory, mask = case
    mask = mask if is_masked else None
    ours = attend(packed, memory, HEADS, mask, Dropout(0.0))
    assert torch.allclose(ours, reference(packed, memory, mask), atol=1e-12)


def test_its_gradient_is_that_of_attention(case):
    packed, memory, mask = case
    inputs = [packed] if memory is None else [packed, memory]
    upstream = torch.randn(BATCH, TGT_LEN, D_MODEL, dtype=torch.float64)
    ours = torch.autograd.grad(attend(packed, memory, HEADS, mask, Dropout(0.0)), inputs, upstream)
    theirs = torch.autograd.grad(reference(packed, memory, mask), inputs, upstream)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_dropout_of_the_weights_has_its_gradient(case):
    packed, memory, mask = case

    def compute(*inputs):
        torch.manual_seed(5)  # the same mask at every call
        return attend(inputs[0], inputs[1] if len(inputs) > 1 else None, HEADS, mask, Dropout(0.4).train())

    inputs = (packed,) if memory is None else (packed, memory)
    assert not torch.allclose(compute(*inputs), reference(packed, memory, mask))
    assert torch.autograd.gradcheck(compute, inputs)


def test_it_works_in_bf16(case):
    packed, memory, mask = case
    lower = [None if x is None else x.detach().bfloat16().requires_grad_() for x in (packed, memory)]
    ours = attend(*lower, HEADS, mask, Dropout(0.0))
    ours.sum().backward()
    assert ours.dtype == lower[0].grad.dtype == torch.bfloat16
    assert torch.allclose(ours.double(), reference(packed, memory, mask), atol=0.05)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 6), (2, 3, 6)])
def test_linear_in_training_is_linear(bias, shape):
    torch.manual_seed(1)
    layer = Linear(6, 5, bias=bias)
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(*shape[:-1], 5)
    weights = [x, *layer.parameters()]
    ours = torch.autograd.grad(layer(x), weights, upstream)
    theirs = torch.autograd.grad(torch.nn.functional.linear(x, layer.weight, layer.bias), weights, upstream)
    assert torch.allclose(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias), atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))
    with torch.no_grad():
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_dropout_that_is_added_is_dropout():
    x, y = torch.randn(50, 40), torch.randn(50, 40)
    dropout = Dropout(0.3).train()
    torch.manual_seed(2)
    ours = dropout.add(x, y)
    torch.manual_seed(2)
    assert torch.allclose(ours, x + dropout(y), atol=1e-6)
    assert torch.equal(dropout.eval().add(x, y), x + y)
