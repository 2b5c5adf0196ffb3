import pytest
import torch
from torch.nn import functional

from mtkit.training.loss import smoothed_cross_entropy


@pytest.fixture
def logits_and_targets():
    torch.manual_seed(1)
    # more rows than one chunk holds
    return torch.randn(2000, 301, dtype=torch.float64, requires_grad=True), torch.randint(0, 301, (2000,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_equals_torchs_cross_entropy_in_value_and_gradient(logits_and_targets, smoothing):
    logits, targets = logits_and_targets
    loss, nll = smoothed_cross_entropy(logits, targets, smoothing)
    (loss / 7).backward()
    copy = logits.detach().clone().requires_grad_()
    expected = functional.cross_entropy(copy, targets, label_smoothing=smoothing, reduction="sum")
    (expected / 7).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert (logits.grad - copy.grad).abs().max() < 1e-12
    assert nll.item() == pytest.approx(functional.cross_entropy(copy, targets, reduction="sum").item(), rel=1e-12)


def test_the_gradient_is_the_numerical_one():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1, 0, 4])
    assert torch.autograd.gradcheck(lambda x: smoothed_cross_entropy(x, targets, 0.2)[0], (logits,))


def test_bf16_logits_are_summed_in_fp32(logits_and_targets):
    logits, targets = logits_and_targets
    rough = logits.detach().bfloat16()
    exact, _ = smoothed_cross_entropy(rough.double(), targets, 0.1)
    loss, _ = smoothed_cross_entropy(rough, targets, 0.1)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


def test_needs_no_gradient_in_validation(logits_and_targets):
    logits, targets = logits_and_targets
    with torch.inference_mode():
        loss, _ = smoothed_cross_entropy(logits.detach(), targets, 0.0)
    assert loss.item() > 0
