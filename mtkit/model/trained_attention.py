"""Multi-head attention for training on a CPU.

For sentences, which are short, the matrix products of attention are small, and most of the time would go into bringing
heads behind one another in memory and back. Here every product reads its head where the projections left it, and the
gradients are written to where the projections want them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtkit.model.dropout import Dropout
from mtkit.model.softmax import softmax, softmax_backward


def attend(
    queries: Tensor, keys_values: Tensor | None, num_heads: int, mask: Tensor | None, dropout: Dropout
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)) V, the heads beside one another.

    Args:
        queries: `(batch, tgt_len, d_model)`; without `keys_values`, queries, keys and values beside one another:
            `(batch, length, 3 * d_model)`.
        keys_values: `(batch, src_len, 2 * d_model)`.
        num_heads: Divides d_model.
        mask: Bool, broadcast to `(batch, num_heads, tgt_len, src_len)` and the same for all heads, True where a key may
            be attended; None for everywhere. Every query needs at least one key.
        dropout: Applied to the attention weights.

    Returns:
        `(batch, tgt_len, d_model)`.
    """
    bias = None
    if mask is not None:
        by_sentence = mask.view(-1, *mask.shape[-2:])  # (batch or 1, tgt_len or 1, src_len)
        bias = torch.zeros_like(by_sentence, dtype=queries.dtype).masked_fill_(~by_sentence, -torch.inf)
    return _Attention.apply(queries, keys_values, num_heads, bias, dropout)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, packed: Tensor, memory: Tensor | None, num_heads: int, bias: Tensor | None, dropout: Dropout
    ) -> Tensor:
        queries, keys, values = _unpack(packed, memory, num_heads)
        scale = 1 / math.sqrt(queries.size(-1))
        batch, tgt_len, src_len = queries.size(1), queries.size(2), keys.size(2)
        scores = queries.new_empty(num_heads, batch, tgt_len, src_len)
        start, beta = (scores.new_zeros(()), 0) if bias is None else (bias, 1)
        for head in range(num_heads):
            transposed = keys[head].transpose(1, 2)
            torch.baddbmm(start, queries[head], transposed, beta=beta, alpha=scale, out=scores[head])
        weights = softmax(scores)
        dropout_mask = dropout.draw_mask(weights)
        dropped = weights if dropout_mask is None else weights * dropout_mask
        attended = queries.new_empty(batch, tgt_len, num_heads, queries.size(-1))
        for head in range(num_heads):
            attended[:, :, head] = torch.bmm(dropped[head], values[head])
        ctx.save_for_backward(packed, memory, weights, dropout_mask)
        ctx.num_heads, ctx.scale = num_heads, scale
        return attended.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        packed, memory, weights, dropout_mask = ctx.saved_tensors
        queries, keys, values = _unpack(packed, memory, ctx.num_heads)
        grad_packed = torch.empty_like(packed)
        grad_memory = None if memory is None else torch.empty_like(memory)
        grad_queries, grad_keys, grad_values = _unpack(grad_packed, grad_memory, ctx.num_heads)
        grads = _split(grad, 1, ctx.num_heads)[0]
        dropped = weights if dropout_mask is None else weights * dropout_mask
        grad_weights = torch.empty_like(weights)
        for head in range(ctx.num_heads):
            torch.bmm(grads[head], values[head].transpose(1, 2), out=grad_weights[head])
            grad_values[head] = torch.bmm(dropped[head].transpose(1, 2), grads[head])
        if dropout_mask is not None:
            grad_weights.mul_(dropout_mask)
        grad_scores = softmax_backward(grad_weights, weights)
        start = weights.new_zeros(())
        for head in range(ctx.num_heads):
            scores, transposed = grad_scores[head], grad_scores[head].transpose(1, 2)
            grad_queries[head] = torch.baddbmm(start, scores, keys[head], beta=0, alpha=ctx.scale)
            grad_keys[head] = torch.baddbmm(start, transposed, queries[head], beta=0, alpha=ctx.scale)
        return grad_packed, grad_memory, None, None, None


def _unpack(packed: Tensor, memory: Tensor | None, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values as views: `(num_heads, batch, length, head_dim)`."""
    if memory is None:
        queries, keys, values = _split(packed, 3, num_heads)
    else:
        (queries,) = _split(packed, 1, num_heads)
        keys, values = _split(memory, 2, num_heads)
    return queries, keys, values


def _split(packed: Tensor, parts: int, num_heads: int) -> Tensor:
    """`(batch, length, parts * d_model)` -> `(parts, num_heads, batch, length, head_dim)`, a view."""
    batch, length, width = packed.shape
    return packed.view(batch, length, parts, num_heads, width // (parts * num_heads)).permute(2, 3, 0, 1, 4)
