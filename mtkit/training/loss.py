"""Label-smoothed cross-entropy and R-Drop, summed over target tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mtkit.model.linear import multiply, multiply_rows

# Logits computed on at once: on a CPU about what a core's cache holds; on a GPU 64 MiB for each fp32 copy of a chunk.
_CHUNK_ELEMENTS = 1 << 18
_DEVICE_CHUNK_ELEMENTS = 1 << 24

# Tokens that are projected at once where the projection is part of the loss.
_PROJECTED_ROWS = 512


class _SummedLoss(torch.autograd.Function):
    """Computes loss and gradient together, a chunk of rows at a time, so that no fp32 copy of all logits is made."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float, r_drop: float) -> tuple[Tensor, Tensor]:
        grad = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        if r_drop > 0:
            loss, nll = _sum_r_drop(logits, targets, smoothing, r_drop, grad)
        else:
            loss, nll = _sum_cross_entropy(logits, targets, smoothing, grad)
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0].to(grad.dtype), None, None, None


class _ProjectedLoss(torch.autograd.Function):
    """The output projection and the loss in one, some hundred tokens at a time: their logits never leave the cache."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        wants_grad = any(ctx.needs_input_grad)
        lower = weight.detach().to(states.dtype)
        lower_bias = None if bias is None else bias.detach().to(states.dtype)
        grad_states = torch.empty_like(states)
        grad_weight = torch.zeros_like(weight)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        loss, nll = _zeros(states), _zeros(states)
        for start in range(0, len(states), _PROJECTED_ROWS):
            chunk = slice(start, start + _PROJECTED_ROWS)
            logits = multiply(states[chunk], lower, lower_bias)
            grad = torch.empty_like(logits) if wants_grad else None
            chunk_loss, chunk_nll = _sum_cross_entropy(logits, targets[chunk], smoothing, grad)
            loss += chunk_loss
            nll += chunk_nll
            if grad is not None:
                grad_states[chunk] = multiply(grad, lower.t())
                grad_weight += multiply_rows(grad, states[chunk])
                if grad_bias is not None:
                    grad_bias += grad.sum(0, dtype=grad_bias.dtype)
        if wants_grad:
            ctx.save_for_backward(grad_states, grad_weight, grad_bias)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if grad is None else grad * grads[0].to(grad.dtype) for grad in ctx.saved_tensors)
        return *scaled, None, None


def _sum_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, grad: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the summed loss and its plain part, and write the gradient of the loss into `grad`."""
    vocab = logits.size(1)
    loss, nll = _zeros(logits), _zeros(logits)
    chunk_rows = _chunk_rows(logits)
    for start in range(0, len(logits), chunk_rows):
        chunk = slice(start, start + chunk_rows)
        log_probs = torch.log_softmax(logits[chunk], dim=-1, dtype=_accumulator(logits.dtype))
        wanted = targets[chunk].unsqueeze(1)
        chunk_nll = -log_probs.gather(1, wanted).sum(dtype=loss.dtype)
        nll += chunk_nll
        loss += (1 - smoothing) * chunk_nll
        if smoothing > 0:
            loss -= smoothing / vocab * log_probs.sum(dtype=loss.dtype)
        if grad is not None:
            probs = log_probs.exp_()
            if smoothing > 0:
                probs.sub_(smoothing / vocab)
            probs.scatter_add_(1, wanted, probs.new_full(wanted.shape, smoothing - 1))
            grad[chunk] = probs
    return loss, nll


def _sum_r_drop(
    logits: Tensor, targets: Tensor, smoothing: float, r_drop: float, grad: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Do the same for R-Drop: row i of the first half of `logits` belongs to row i of the second.

    With p and q the distributions of the two passes, the gradient of KL(p||q) + KL(q||p) with respect to the logits of
    the first is p (log p - log q - KL(p||q)) + p - q, and with p and q exchanged that of the second.
    """
    vocab, num_tokens = logits.size(1), len(logits) // 2
    loss, nll = _zeros(logits), _zeros(logits)
    chunk_rows = _chunk_rows(logits)
    for start in range(0, num_tokens, chunk_rows):
        stop = min(start + chunk_rows, num_tokens)
        passes = slice(start, stop), slice(num_tokens + start, num_tokens + stop)
        log_p, log_q = (torch.log_softmax(logits[rows], dim=-1, dtype=_accumulator(logits.dtype)) for rows in passes)
        wanted = targets[start:stop].unsqueeze(1)
        chunk_nll = -0.5 * (log_p.gather(1, wanted) + log_q.gather(1, wanted)).sum(dtype=loss.dtype)
        nll += chunk_nll
        loss += (1 - smoothing) * chunk_nll
        if smoothing > 0:
            loss -= 0.5 * smoothing / vocab * (log_p.sum(dtype=loss.dtype) + log_q.sum(dtype=loss.dtype))
        log_ratio = log_p - log_q
        p, q = log_p.exp_(), log_q.exp_()
        kl_pq, kl_qp = (p * log_ratio).sum(1, keepdim=True), -(q * log_ratio).sum(1, keepdim=True)  # (rows, 1)
        loss += r_drop / 4 * (kl_pq + kl_qp).sum(dtype=loss.dtype)
        if grad is not None:
            for rows, own, other, own_log_ratio, kl in (
                (passes[0], p, q, log_ratio, kl_pq),
                (passes[1], q, p, -log_ratio, kl_qp),
            ):
                chunk_grad = own_log_ratio.sub(kl).mul_(own).add_(own).sub_(other).mul_(r_drop / 4)
                chunk_grad.add_(own, alpha=0.5).sub_(0.5 * smoothing / vocab)
                chunk_grad.scatter_add_(1, wanted, own.new_full(wanted.shape, 0.5 * (smoothing - 1)))
                grad[rows] = chunk_grad
    return loss, nll


def _chunk_rows(logits: Tensor) -> int:
    """Return the number of tokens whose logits are computed on at once."""
    elements = _CHUNK_ELEMENTS if logits.device.type == "cpu" else _DEVICE_CHUNK_ELEMENTS
    return max(1, elements // logits.size(1))


def _zeros(logits: Tensor) -> Tensor:
    """Return the sum of nothing: float64, or float32 on Apple's GPUs, which have no float64."""
    dtype = torch.float32 if logits.device.type == "mps" else torch.float64
    return torch.zeros((), dtype=dtype, device=logits.device)


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def smoothed_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float, r_drop: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the summed label-smoothed cross-entropy of next-token logits, and R-Drop's penalty with it.

    Szegedy et al. 2016 (arXiv:1512.00567), section 7: the wanted distribution is (1 - smoothing) on the target plus
    smoothing / vocab on every token. The caller divides by the target tokens of the whole update.

    R-Drop, Liang et al. 2021 (arXiv:2106.14448), equation 4: each batch passes the model twice, with other dropout, and
    the two distributions p and q of a token are drawn together: -log p - log q + alpha (KL(p||q) + KL(q||p)) / 2. This
    is one half of it, the mean over the passes, so that the loss is one of `tokens` as without R-Drop: the mean of the
    two cross-entropies + r_drop (KL(p||q) + KL(q||p)) / 4. `r_drop` is the paper's alpha.

    Args:
        logits: `(tokens, vocab)`, any floating type; padding left out. With R-Drop `(2 * tokens, vocab)`: all rows of
            the first pass, then those of the second in the same order, as a batch gives that holds its sentences twice,
            one copy behind the other.
        targets: `(tokens,)` int64; with R-Drop `(2 * tokens,)`, the same ids twice.
        smoothing: In [0, 1); 0 is plain cross-entropy.
        r_drop: Weight of R-Drop, >= 0; 0 for a single pass.

    Returns:
        The loss, which can be differentiated, and the plain cross-entropy (with R-Drop the mean of the passes), both
        summed over tokens, in nats; float64, or float32 on mps.
    """
    assert len(targets) == len(logits)
    assert r_drop == 0 or len(logits) % 2 == 0
    loss, nll = _SummedLoss.apply(logits, targets, smoothing, r_drop)  # type: ignore[no-untyped-call]
    return loss, nll


def projected_cross_entropy(
    states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return `smoothed_cross_entropy` of the logits that decoder states are projected to; meant for CPUs.

    Args:
        states: `(tokens, d_model)`; their type is that of the arithmetic. Padding left out.
        weight: `(vocab, d_model)`.
        bias: `(vocab,)`, or None.
        targets: `(tokens,)` int64.
        smoothing: In [0, 1); 0 is plain cross-entropy.

    Returns:
        The smoothed loss, which can be differentiated, and the plain one, both summed over tokens, in nats; float64.
    """
    loss, nll = _ProjectedLoss.apply(states, weight, bias, targets, smoothing)  # type: ignore[no-untyped-call]
    return loss, nll
