"""Encoder and decoder layers (Vaswani et al. 2017, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from mtkit.config.model import ModelConfig
from mtkit.model.attention import CrossAttention, SelfAttention
from mtkit.model.cache import KVCache
from mtkit.model.dropout import Dropout
from mtkit.model.linear import Linear


class Residual(nn.Module):
    """A residual connection around a sublayer, with dropout of its output and layer norm.

    Post-norm, as published: norm(x + dropout(sublayer(x))). Pre-norm: x + dropout(sublayer(norm(x))), which leaves a
    path from output to input that no norm interrupts, so that it trains stably without a long warm-up.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.is_pre = config.norm == "pre"
        self.norm = nn.LayerNorm(config.d_model)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `x` with the sublayer's output added; any shape `(..., d_model)`."""
        if self.is_pre:
            return self.dropout.add(x, sublayer(self.norm(x)))
        return self.norm(self.dropout.add(x, sublayer(x)))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear maps with a non-linearity between: max(0, x W1 + b1) W2 + b2, as published."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.inner = Linear(config.d_model, config.d_ff)
        self.outer = Linear(config.d_ff, config.d_model)
        self.activation = functional.relu if config.activation == "relu" else functional.silu
        self.dropout = Dropout(config.activation_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., d_model)` to the same shape."""
        return self.outer(self.dropout(self.activation(self.inner(x))))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.self_attention_residual = Residual(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_residual = Residual(config)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Encode `x`, `(batch, src_len, d_model)`; `mask` is `(batch, 1, 1, src_len)` bool, True for real tokens."""
        x = self.self_attention_residual(x, lambda y: self.self_attention(y, mask))
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Masked self-attention, attention to the source, and feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.self_attention_residual = Residual(config)
        self.cross_attention = CrossAttention(config)
        self.cross_attention_residual = Residual(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_residual = Residual(config)

    def forward(self, x: Tensor, causal_mask: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """Decode all positions at once.

        Args:
            x: `(batch, tgt_len, d_model)`.
            causal_mask: `(tgt_len, tgt_len)` bool, True where a position may be attended.
            memory: `(batch, src_len, d_model)`, the encoder's output.
            memory_mask: `(batch, 1, 1, src_len)` bool, True for real source tokens.

        Returns:
            The shape of `x`.
        """
        x = self.self_attention_residual(x, lambda y: self.self_attention(y, causal_mask))
        x = self.cross_attention_residual(x, lambda y: self.cross_attention.attend_memory(y, memory, memory_mask))
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]

    def step(self, x: Tensor, cache: KVCache, memory_keys_values: tuple[Tensor, Tensor], memory_mask: Tensor) -> Tensor:
        """Decode one more position of each row.

        Args:
            x: `(rows, 1, d_model)`, rows = batch x beam.
            cache: This layer's self-attention cache; it grows by one position.
            memory_keys_values: `(batch, num_heads, src_len, head_dim)` each.
            memory_mask: `(batch, 1, 1, src_len)` bool, True for real source tokens.

        Returns:
            The shape of `x`.
        """
        keys, values = memory_keys_values

        def attend_source(y: Tensor) -> Tensor:
            by_sentence = y.view(len(keys), -1, y.size(-1))  # (batch, beam, d_model)
            return self.cross_attention(by_sentence, keys, values, memory_mask).view_as(y)  # type: ignore[no-any-return]

        x = self.self_attention_residual(x, lambda y: self.self_attention(y, None, cache))
        x = self.cross_attention_residual(x, attend_source)
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]
