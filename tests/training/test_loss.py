import pytest
import torch
from torch.nn import functional

from mtkit.training import loss as loss_module
from mtkit.training.loss import projected_cross_entropy, smoothed_cross_entropy


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


def plain_r_drop(logits, targets, smoothing, alpha):
    """Half of equation 4 of Liang et al. 2021, as torch's own functions have it."""
    first, second = logits.chunk(2)
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    wanted = targets[: len(first)]
    nll = sum(functional.cross_entropy(x, wanted, label_smoothing=smoothing, reduction="sum") for x in (first, second))
    divergence = functional.kl_div(log_q, log_p, reduction="sum", log_target=True)
    divergence = divergence + functional.kl_div(log_p, log_q, reduction="sum", log_target=True)
    return (nll + alpha * divergence / 2) / 2


@pytest.fixture(params=[1, 40, 100, 1 << 18], ids=lambda elements: f"chunk{elements}")
def chunk_elements(monkeypatch, request):
    monkeypatch.setattr("mtkit.training.loss._CHUNK_ELEMENTS", request.param)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [0.7, 5.0])
def test_r_drop_equals_its_formula_in_value_and_gradient(chunk_elements, smoothing, alpha):
    torch.manual_seed(2)
    logits = (3 * torch.randn(2 * 11, 17, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(0, 17, (11,)).repeat(2)
    loss, nll = smoothed_cross_entropy(logits, targets, smoothing, alpha)
    (loss / 7).backward()
    copy = logits.detach().clone().requires_grad_()
    expected = plain_r_drop(copy, targets, smoothing, alpha)
    (expected / 7).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert (logits.grad - copy.grad).abs().max() < 1e-12
    assert nll.item() == pytest.approx(functional.cross_entropy(copy, targets, reduction="sum").item() / 2, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_of_r_drop_is_the_numerical_one(chunk_elements, smoothing):
    torch.manual_seed(3)
    logits = torch.randn(8, 20, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 20, (4,)).repeat(2)
    assert torch.autograd.gradcheck(lambda x: smoothed_cross_entropy(x, targets, smoothing, 3.0)[0], (logits,))


def test_r_drop_of_two_equal_passes_adds_nothing():
    torch.manual_seed(4)
    once = torch.randn(9, 13, dtype=torch.float64)
    targets = torch.randint(0, 13, (9,))
    single, twice = once.clone().requires_grad_(), once.repeat(2, 1).requires_grad_()
    loss, nll = smoothed_cross_entropy(single, targets, 0.1)
    doubled_loss, doubled_nll = smoothed_cross_entropy(twice, targets.repeat(2), 0.1, 5.0)
    loss.backward()
    doubled_loss.backward()
    assert doubled_loss.item() == pytest.approx(loss.item(), rel=1e-14)
    assert doubled_nll.item() == pytest.approx(nll.item(), rel=1e-14)
    assert (twice.grad - single.grad.repeat(2, 1) / 2).abs().max() < 1e-15


def test_r_drop_of_bf16_logits_is_summed_in_fp32():
    torch.manual_seed(5)
    rough = (2 * torch.randn(400, 301)).bfloat16()
    targets = torch.randint(0, 301, (200,)).repeat(2)
    exact, _ = smoothed_cross_entropy(rough.double(), targets, 0.1, 5.0)
    loss, _ = smoothed_cross_entropy(rough, targets, 0.1, 5.0)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_loss_with_its_projection_is_the_loss_of_the_logits(dtype, has_bias, monkeypatch):
    monkeypatch.setattr(loss_module, "_PROJECTED_ROWS", 3)
    torch.manual_seed(6)
    states = torch.randn(8, 5, dtype=dtype, requires_grad=True)
    weight = torch.randn(11, 5, dtype=dtype, requires_grad=True)
    bias = torch.randn(11, dtype=dtype, requires_grad=True) if has_bias else None
    targets = torch.randint(11, (8,))
    ours = projected_cross_entropy(states, weight, bias, targets, 0.1)
    theirs = smoothed_cross_entropy(torch.nn.functional.linear(states, weight, bias), targets, 0.1)
    inputs = [states, weight] + [bias] * has_bias
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **close)
    gradients = (torch.autograd.grad(value[0] * 3, inputs) for value in (ours, theirs))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **close)
    with torch.inference_mode():
        assert torch.equal(projected_cross_entropy(states, weight, bias, targets, 0.1)[1], ours[1])
