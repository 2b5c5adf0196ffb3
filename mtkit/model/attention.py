"""Multi-head attention (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtkit.config.model import ModelConfig
from mtkit.model.cache import KVCache
from mtkit.model.dropout import Dropout
from mtkit.model.linear import Linear
from mtkit.model.trained_attention import attend


def scaled_dot_product_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, dropout: Dropout | None = None
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)) V for each head.

    On a CPU this is two matrix products and a softmax: for sentences, which are short, that trains half as fast again
    as torch's fused kernel. Elsewhere it is the fused kernel.

    Args:
        queries: `(batch, num_heads, tgt_len, head_dim)`.
        keys: `(batch, num_heads, src_len, head_dim)`.
        values: The same shape as `keys`.
        mask: Bool, broadcast to `(batch, num_heads, tgt_len, src_len)`, True where a key may be attended; None for
            everywhere. Every query needs at least one key.
        dropout: Applied to the attention weights.

    Returns:
        `(batch, num_heads, tgt_len, head_dim)`.
    """
    if queries.device.type != "cpu":
        p = dropout.p if dropout is not None and dropout.training else 0.0
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=p)
    weights = attention_weights(queries, keys, mask).to(values.dtype)
    if dropout is not None:
        weights = dropout(weights)
    return torch.matmul(weights, values)


def attention_weights(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)): `(batch, num_heads, tgt_len, src_len)`; arguments as above."""
    scores = torch.matmul(queries * (1 / math.sqrt(queries.size(-1))), keys.transpose(-2, -1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.softmax(scores, dim=-1)


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

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None = None) -> Tensor:
        """Attend within `x`.

        Args:
            x: `(batch, length, d_model)`; with a cache, `(rows, 1, d_model)`: the newest position alone.
            mask: Bool, broadcast to `(batch, num_heads, length, length)`, True where a position may be attended.
            cache: Keys and values of the positions before; this position's are appended to it.

        Returns:
            The shape of `x`.
        """
        projected = self.qkv_proj(x)
        if cache is None and _is_trained_on_cpu(projected):
            return self.out_proj(attend(projected, None, self.num_heads, mask, self.dropout))  # type: ignore[no-any-return]
        queries, keys, values = (_split_heads(part, self.num_heads) for part in projected.chunk(3, dim=-1))
        if cache is not None:
            keys, values = cache.append(keys, values)
        attended = scaled_dot_product_attention(queries, keys, values, mask, self.dropout)
        return self.out_proj(_join_heads(attended))  # type: ignore[no-any-return]


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

    def attend_memory(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from all positions of `x`, `(batch, tgt_len, d_model)`, to `memory`; `mask` as below."""
        queries = self.q_proj(x)
        if _is_trained_on_cpu(queries):
            attended = attend(queries, self.kv_proj(memory), self.num_heads, mask, self.dropout)
            return self.out_proj(attended)  # type: ignore[no-any-return]
        return self._attend(queries, *self.project_memory(memory), mask)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from `x` to the source.

        Args:
            x: `(batch, tgt_len, d_model)`; in decoding, the hypotheses of a sentence stand in place of `tgt_len`.
            keys: From `project_memory`.
            values: From `project_memory`.
            mask: Bool, broadcast to `(batch, num_heads, tgt_len, src_len)`, True where a key may be attended.

        Returns:
            The shape of `x`.
        """
        return self._attend(self.q_proj(x), keys, values, mask)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        queries = _split_heads(queries, self.num_heads)
        attended = scaled_dot_product_attention(queries, keys, values, mask, self.dropout)
        return self.out_proj(_join_heads(attended))  # type: ignore[no-any-return]
