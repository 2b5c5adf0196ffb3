"""Label-smoothed cross-entropy, summed over target tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Logits computed on at once: about what a core's cache holds.
_CHUNK_ELEMENTS = 1 << 18


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Computes loss and gradient together, a chunk of rows at a time, so that no fp32 copy of all logits is made."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        vocab = logits.size(1)
        grad = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        sums = torch.float32 if logits.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        loss = torch.zeros((), dtype=sums, device=logits.device)
        nll = torch.zeros_like(loss)
        chunk_rows = max(1, _CHUNK_ELEMENTS // vocab) if logits.device.type == "cpu" else len(logits)
        for start in range(0, len(logits), chunk_rows):
            chunk = slice(start, start + chunk_rows)
            log_probs = torch.log_softmax(logits[chunk], dim=-1, dtype=_accumulator(logits.dtype))
            wanted = targets[chunk].unsqueeze(1)
            chunk_nll = -log_probs.gather(1, wanted).sum(dtype=sums)
            nll += chunk_nll
            loss += (1 - smoothing) * chunk_nll
            if smoothing > 0:
                loss -= smoothing / vocab * log_probs.sum(dtype=sums)
            if grad is not None:
                probs = log_probs.exp_()
                if smoothing > 0:
                    probs.sub_(smoothing / vocab)
                probs.scatter_add_(1, wanted, probs.new_full(wanted.shape, smoothing - 1))
                grad[chunk] = probs
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0].to(grad.dtype), None, None


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the summed label-smoothed cross-entropy of next-token logits.

    Szegedy et al. 2016 (arXiv:1512.00567), section 7: the wanted distribution is (1 - smoothing) on the target plus
    smoothing / vocab on every token. The caller divides by the target tokens of the whole update.

    Args:
        logits: `(tokens, vocab)`, any floating type; padding left out.
        targets: `(tokens,)` int64.
        smoothing: In [0, 1); 0 is plain cross-entropy.

    Returns:
        The smoothed loss, which can be differentiated, and the plain one, both summed over tokens, in nats; float64,
        or float32 on mps.
    """
    loss, nll = _SmoothedCrossEntropy.apply(logits, targets, smoothing)  # type: ignore[no-untyped-call]
    return loss, nll
