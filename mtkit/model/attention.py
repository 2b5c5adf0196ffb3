"""Multi-head attention (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtkit.config.model import ModelConfig
from mtkit.model.cache import FEWEST_POSITIONS, LayerRoom
from mtkit.model.dropout import Dropout
from mtkit.model.linear import Linear
from mtkit.model.softmax import softmax
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
    nothing = _zero(queries.dtype, queries.device)
    by_head = queries.flatten(0, 1), keys.flatten(0, 1).mT
    scores = torch.baddbmm(nothing, *by_head, beta=0, alpha=1 / math.sqrt(queries.size(-1)))
    scores = scores.view(*queries.shape[:3], keys.size(2))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return softmax(scores)


def decoding_type(x: Tensor) -> Tensor:
    """Return `x` in the type in which a step attends: fp32 on a CPU, whose products of so few rows are slow in bf16."""
    return x.float() if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x


def attend_with_bias(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim) + bias) V without dropout.

    Args:
        queries: `(batch * num_heads, queries, head_dim)`.
        keys: `(batch * num_heads, head_dim, positions)`.
        values: `(batch * num_heads, positions, head_dim)`.
        bias: `(batch * num_heads, 1 or queries, positions)`: 0, or -inf where a key may not be attended; None for 0.

    Returns:
        The shape of `queries`.
    """
    # Scaling and adding as parts of the product cost nothing.
    added, beta = (_zero(queries.dtype, queries.device), 0) if bias is None else (bias, 1)
    scores = torch.baddbmm(added, queries, keys, beta=beta, alpha=1 / math.sqrt(queries.size(-1)))
    return torch.bmm(torch.softmax(scores, dim=-1), values)


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


def _split_rows(x: Tensor, batch: int, num_heads: int) -> Tensor:
    """`(batch * rows, d_model)` -> `(batch * num_heads, rows, head_dim)`."""
    if len(x) == batch:  # the heads of a row lie one after the other already
        return x.view(batch * num_heads, 1, -1)
    return x.view(batch, -1, num_heads, x.size(1) // num_heads).transpose(1, 2).flatten(0, 1)


def _join_rows(x: Tensor, batch: int) -> Tensor:
    """`(batch * num_heads, rows, head_dim)` -> `(batch * rows, d_model)`."""
    if x.size(1) == 1:
        return x.view(batch, -1)
    return x.view(batch, -1, *x.shape[1:]).transpose(1, 2).flatten(2).flatten(0, 1)


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

    def build_pass(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """Return the function that attends within `x`, without dropout and without `out_proj`.

        It takes `x`, `(batch, length, d_model)`, and a bias, `(batch * num_heads, 1, positions)`, that is added to the
        scores, or None. It returns the shape of `x`. There are at least `FEWEST_POSITIONS`, so that the bias has -inf
        for those behind the length.
        """
        project, num_heads = self.qkv_proj.forward, self.num_heads

        def attend(x: Tensor, bias: Tensor | None) -> Tensor:
            batch, length, _ = x.shape
            projected = project(x)
            if length < FEWEST_POSITIONS:
                projected = functional.pad(projected, (0, 0, 0, FEWEST_POSITIONS - length))
            parts = projected.view(batch, projected.size(1), 3, num_heads, -1).permute(2, 0, 3, 1, 4)
            queries, keys, values = parts.flatten(1, 2)  # (batch * num_heads, positions, head_dim)
            attended = attend_with_bias(queries[:, :length], keys.mT, values, bias)
            return _join_heads(attended.view(batch, num_heads, length, -1))

        return attend

    def build_step(self) -> Callable[[Tensor, LayerRoom, Tensor], Tensor]:
        """Return the function that attends from the newest position to all before it and itself, without `out_proj`.

        It takes `x`, `(rows, d_model)`, the newest position of each hypothesis; this layer's room, where it writes
        their keys and values; and a bias, as `DecoderState.extend` returns it, that is added to the scores. It
        returns the shape of `x`. At the first position one row may stand for all of its group.
        """
        project, num_heads = self.qkv_proj.forward, self.num_heads

        def step(x: Tensor, room: LayerRoom, bias: Tensor) -> Tensor:
            newest, keys, values = room
            groups, head_dim = newest.size(1), newest.size(4)
            projected = decoding_type(project(x)).view(groups, -1, 3, num_heads, head_dim)
            projected = projected.permute(2, 0, 3, 1, 4)  # (3, groups, num_heads, width, head_dim)
            newest.copy_(projected[1:])
            attended = attend_with_bias(projected[0].flatten(0, 1), keys, values, bias)
            return _join_rows(attended, groups)

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
        keys, values = (_split_heads(part, self.num_heads) for part in self.kv_proj(memory).chunk(2, dim=-1))
        attended = scaled_dot_product_attention(queries, keys, values, mask, self.dropout, take)
        return self.out_proj(_join_heads(attended))  # type: ignore[no-any-return]

    def build_step(self) -> Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]:
        """Return the function that attends from the newest position to the source, without `out_proj`.

        It takes `x`, `(batch * beam, d_model)`, the newest position of each hypothesis; keys and values as
        `attend_with_bias` does; and a bias, `(batch * num_heads, 1, positions)`, that is added to the scores, or None.
        It returns the shape of `x`.
        """
        project, num_heads = self.q_proj.forward, self.num_heads

        def step(x: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
            batch = len(keys) // num_heads
            queries = _split_rows(decoding_type(project(x)), batch, num_heads)
            return _join_rows(attend_with_bias(queries, keys, values, bias), batch)

        return step

    def start(self, memory: Tensor) -> Tensor:
        """Return keys and values of `memory`, `(batch, src_len, d_model)`.

        They are `(2, batch, num_heads, src_len, head_dim)`.
        """
        batch, src_len, _ = memory.shape
        projected = decoding_type(self.kv_proj(memory)).view(batch, src_len, 2, self.num_heads, -1)
        return projected.permute(2, 0, 3, 1, 4)
