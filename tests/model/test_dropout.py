import pytest
import torch

from mtkit.model.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_zeroes_the_given_share_and_keeps_the_mean(p):
    torch.manual_seed(1)
    x = torch.ones(1000, 1003)
    y = Dropout(p)(x)
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.002)
    assert y.mean().item() == pytest.approx(1.0, abs=0.004)
    assert y[y != 0].unique().numel() == 1
    # no lane of the shared random words is special
    assert (y.flatten()[:1_000_000].view(-1, 4) == 0).float().mean(0) == pytest.approx([p] * 4, abs=0.003)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_keeps_the_type_and_passes_the_gradient_where_it_passed_the_value(dtype):
    x = torch.randn(7, 5, dtype=dtype, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert torch.equal(x.grad != 0, y != 0)


def test_is_a_function_of_torchs_seed():
    x = torch.ones(100)
    dropout = Dropout(0.5)
    torch.manual_seed(3)
    first = dropout(x)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x))
    assert not torch.equal(first, dropout(x))


def test_does_nothing_outside_training_or_at_zero():
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
