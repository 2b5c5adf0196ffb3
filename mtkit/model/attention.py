"""Multi-head attention (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtkit.config.model import ModelConfig
from mtkit.model.cache import KVCache
from mtkit.model.dropout import Dropout
from mtkit.model.linear import Linear
from mtkit.model.trained_attention import attend

# Takes the weights of an attention where they are computed, `(batch, num_heads, tgt_len, src_len)`, before dropout.
TakeWeights = Callable[[Tensor], None]


def scaled_dot_product_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    dropout: Dropout | None = None,
    take: TakeWeights | None = None,
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)) V for each head.

    On a CPU this is two matrix products and a softmax: for sentences, which are short, that trains half as fast again
    as torch's fused kernel. Elsewhere it is the fused kernel, which keeps its weights to itself, unless they are taken.

    Args:
        queries: `(batch, num_heads, tgt_len, head_dim)`.
        keys: `(batch, num_heads, src_len, head_dim)`.
        values: The same shape as `keys`.
        mask: Bool, broadcast to `(batch, num_heads, tgt_len, src_len)`, True where a key may be attended; None for
            everywhere. Every query needs at least one key.
        dropout: Applied to the attention weights.
        take: Is given the weights.

    Returns:
        `(batch, num_heads, tgt_len, head_dim)`.
    """
    if take is None and queries.device.type != "cpu":
        p = dropout.p if dropout is not None and dropout.training else 0.0
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=p)
    weights = attention_weights(queries, keys, mask).to(values.dtype)
    if take is not None:
        take(weights)
    if dropout is not None:
        weights = dropout(weights)
    return torch.matmul(weights, values)


def attention_weights(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)): `(batch, num_heads, tgt_len, src_len)`; arguments as above."""
    scores = torch.matmul(queries * (1 / math.sqrt(queries.size(-1))), keys.transpose(-2, -1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.softmax(scores, dim=-1)


def decoding_type(x: Tensor) -> Tensor:
    """Return `x` in the type in which a step attends: fp32 on a CPU, whose products of so few rows are slow in bf16."""
    return x.float() if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x


def attend_with_bias(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim) + bias) V for the few queries of a decoding step, heads side by side.

    Args:
        queries: `(batch, beam, num_heads, head_dim)`.
        keys: `(batch, num_heads, positions, head_dim)`.
        values: The same shape as `keys`.
        bias: `(batch, 1, 1 or beam, positions)`: 0, or -inf where a key may not be attended; None for 0.

    Returns:
        `(batch, beam, d_model)`.
    """
    batch, beam, num_heads, head_dim = queries.shape
    by_head = queries.transpose(1, 2).reshape(-1, beam, head_dim)  # (batch * num_heads, beam, head_dim)
    # Scaling as a part of the product costs nothing.
    nothing = _zero(queries.dtype, queries.device)
    scores = torch.baddbmm(nothing, by_head, keys.flatten(0, 1).mT, beta=0, alpha=1 / math.sqrt(head_dim))
    if bias is not None:
        scores.view(batch, num_heads, beam, -1).add_(bias)
    attended = torch.bmm(torch.softmax(scores, dim=-1), values.flatten(0, 1))
    return _join_heads(attended.view(batch, num_heads, beam, head_dim))


@cache
def _zero(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.zeros((), dtype=dtype, device=device)


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """`(batch, length, d_model)` -> `(batch, num_heads, length, head_dim)`."""
    batch, length, d_model = x.shape
    return x.view(batch, length, num_heads, d_model // num_heads).transpose(1, 2)


def _join_heads(x: Tensor) -> Tensor:
    """`(batch, num_heads, length, head_dim)` -> `(batch, length, d_model)`."""
    return x.transpose(1, 2).flatten(2)


def _is_trained_on_cpu(x: Tensor) -> bool:
    return x.requires_grad and x.device.type == "cpu"


class SelfAttention(nn.Module):
    """Attention of a sequence to itself. Queries, keys and values are one matrix product."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv_proj = Linear(config.d_model, 3 * config.d_model)
        self.out_proj = Linear(config.d_model, config.d_model)
        self.dropout = Dropout(config.attention_dropout)

    def forward(self, x: Tensor, mask: Tensor | None, take: TakeWeights | None = None) -> Tensor:
        """Attend within `x`.

        Args:
            x: `(batch, length, d_model)`.
            mask: Bool, broadcast to `(batch, num_heads, length, length)`, True where a position may be attended.
            take: Is given the weights.

        Returns:
            The shape of `x`.
        """
        projected = self.qkv_proj(x)
        if take is None and _is_trained_on_cpu(projected):
            return self.out_proj(attend(projected, None, self.num_heads, mask, self.dropout))  # type: ignore[no-any-return]
        queries, keys, values = (_split_heads(part, self.num_heads) for part in projected.chunk(3, dim=-1))
        attended = scaled_dot_product_attention(queries, keys, values, mask, self.dropout, take)
        return self.out_proj(_join_heads(attended))  # type: ignore[no-any-return]

    def build_step(self) -> Callable[[Tensor, KVCache, Tensor | None], Tensor]:
        """Return the function that attends from the newest position to all before it and itself, without `out_proj`.

        It takes `x`, `(groups, width, d_model)`, the newest position of each hypothesis (see `KVCache`); this layer's
        cache, which grows by the position; and a bias, `(groups, 1, width, (length + 1) * width)`, that is added to the
        scores, or None. It returns the shape of `x`.
        """
        project, num_heads = self.qkv_proj.forward, self.num_heads

        def step(x: Tensor, cache: KVCache, bias: Tensor | None) -> Tensor:
            groups, width, _ = x.shape
            projected = decoding_type(project(x)).view(groups, width, 3, num_heads, -1)
            keys, values = cache.append(projected[:, :, 1:])
            return attend_with_bias(projected[:, :, 0], keys, values, bias)

        return step


class CrossAttention(nn.Module):
    """Attention of the decoder to the encoder's output. Keys and values are computed once a sentence."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q_proj = Linear(config.d_model, config.d_model)
        self.kv_proj = Linear(config.d_model, 2 * config.d_model)
        self.out_proj = Linear(config.d_model, config.d_model)
        self.dropout = Dropout(config.attention_dropout)

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of `memory`, `(batch, src_len, d_model)`.

        Both are `(batch, num_heads, src_len, head_dim)`.
        """
        keys, values = self.kv_proj(memory).chunk(2, dim=-1)
        return _split_heads(keys, self.num_heads), _split_heads(values, self.num_heads)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None, take: TakeWeights | None = None) -> Tensor:
        """Attend from all positions of `x` to the source.

        Args:
            x: `(batch, tgt_len, d_model)`.
            memory: `(batch, src_len, d_model)`.
            mask: Bool, broadcast to `(batch, num_heads, tgt_len, src_len)`, True where a position may be attended.
            take: Is given the weights.

        Returns:
            The shape of `x`.
        """
        queries = self.q_proj(x)
        if take is None and _is_trained_on_cpu(queries):
            attended = attend(queries, self.kv_proj(memory), self.num_heads, mask, self.dropout)
            return self.out_proj(attended)  # type: ignore[no-any-return]
        queries = _split_heads(queries, self.num_heads)
        attended = scaled_dot_product_attention(queries, *self.project_memory(memory), mask, self.dropout, take)
        return self.out_proj(_join_heads(attended))  # type: ignore[no-any-return]

    def build_step(self) -> Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]:
        """Return the function that attends from the newest position to the source, without `out_proj`.

        It takes `x`, `(batch, beam, d_model)`, the newest position of each hypothesis; keys and values from `start`,
        both `(batch, num_heads, src_len, head_dim)`; and a bias, `(batch, 1, 1, src_len)`, that is added to the scores,
        or None. It returns the shape of `x`.
        """
        project, num_heads = self.q_proj.forward, self.num_heads

        def step(x: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
            batch, beam, _ = x.shape
            return attend_with_bias(decoding_type(project(x)).view(batch, beam, num_heads, -1), keys, values, bias)

        return step

    def start(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of `memory`, `(batch, src_len, d_model)`, laid out for `step`."""
        keys, values = self.project_memory(decoding_type(memory))
        return decoding_type(keys).contiguous(), decoding_type(values).contiguous()
