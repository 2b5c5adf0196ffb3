"""Encoder and decoder layers (Vaswani et al. 2017, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtkit.config.model import ModelConfig
from mtkit.model.attention import CrossAttention, SelfAttention, TakeWeights
from mtkit.model.cache import LayerRoom
from mtkit.model.dropout import Dropout
from mtkit.model.linear import Linear

Map = Callable[[Tensor], Tensor]


class LayerStep(Protocol):
    """A decoder layer at one position."""

    def __call__(
        self,
        x: Tensor,
        room: LayerRoom,
        bias: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
        memory_bias: Tensor | None,
    ) -> Tensor:
        """Decode one more position of each hypothesis, without dropout.

        Args:
            x: `(batch * beam, d_model)`; `(batch, d_model)` at the first position, where hypotheses are alike.
            room: The layer's, as `DecoderState.extend` returns it; keys and values of the position are written there.
            bias: Of the self-attention, as `DecoderState.extend` returns it.
            memory_keys: `(batch * num_heads, head_dim, positions)`.
            memory_values: `(batch * num_heads, positions, head_dim)`.
            memory_bias: `(batch * num_heads, 1, positions)`, or None; see `DecoderState`.

        Returns:
            The shape of `x`.
        """


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

    def build_norms(self) -> tuple[Map, Map]:
        """Return what comes before the sublayer, and what comes after its result has been added; one is nothing."""
        norm = build_norm(self.norm)
        return (norm, _keep) if self.is_pre else (_keep, norm)


def build_norm(norm: nn.Module) -> Map:
    """Return the function that a layer norm is, with its parts looked up once; other modules as they are."""
    if not isinstance(norm, nn.LayerNorm):
        return norm
    shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps, False)


def _keep(x: Tensor) -> Tensor:
    return x


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
        return self.outer(self.dropout(self.build_step()(x)))  # type: ignore[no-any-return]

    def build_step(self) -> Map:
        """Return the function that gives what `outer` is given, without dropout: `(..., d_model)` to `(..., d_ff)`."""
        if self.activation is functional.relu:
            return self.inner.relu
        activation, inner = self.activation, self.inner.forward
        return lambda x: activation(inner(x))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.self_attention_residual = Residual(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_residual = Residual(config)

    def forward(self, x: Tensor, mask: Tensor | None, take: TakeWeights | None = None) -> Tensor:
        """Encode `x`, `(batch, src_len, d_model)`; `mask` is `(batch, 1, 1, src_len)` bool, True for real tokens.

        `take` is given the attention weights.
        """
        x = self.self_attention_residual(x, lambda y: self.self_attention(y, mask, take))
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]

    def build_pass(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """Return the function that encodes without dropout, with its parts looked up once.

        It takes `x`, `(batch, src_len, d_model)`, and a bias as `SelfAttention.build_pass` does; it returns the shape
        of `x`.
        """
        own, inner = self.self_attention.build_pass(), self.feed_forward.build_step()
        add_own, add_inner = self.self_attention.out_proj.add, self.feed_forward.outer.add
        before_own, after_own = self.self_attention_residual.build_norms()
        before_inner, after_inner = self.feed_forward_residual.build_norms()

        def encode(x: Tensor, bias: Tensor | None) -> Tensor:
            x = after_own(add_own(own(before_own(x), bias), x))
            return after_inner(add_inner(inner(before_inner(x)), x))

        return encode


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

    def forward(
        self,
        x: Tensor,
        causal_mask: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        take_own: TakeWeights | None = None,
        take_source: TakeWeights | None = None,
    ) -> Tensor:
        """Decode all positions at once.

        Args:
            x: `(batch, tgt_len, d_model)`.
            causal_mask: `(tgt_len, tgt_len)` bool, True where a position may be attended.
            memory: `(batch, src_len, d_model)`, the encoder's output.
            memory_mask: `(batch, 1, 1, src_len)` bool, True for real source tokens.
            take_own: Is given the weights of the self-attention.
            take_source: Is given those of the attention to the source.

        Returns:
            The shape of `x`.
        """
        x = self.self_attention_residual(x, lambda y: self.self_attention(y, causal_mask, take_own))
        x = self.cross_attention_residual(x, lambda y: self.cross_attention(y, memory, memory_mask, take_source))
        return self.feed_forward_residual(x, self.feed_forward)  # type: ignore[no-any-return]

    def build_step(self) -> LayerStep:
        """Return the function that decodes one more position of each hypothesis; see `LayerStep`.

        A step does little work in each of many parts. They are looked up once, not at each token: of the time of a step
        for a single sentence that takes a quarter.
        """
        own, source = self.self_attention.build_step(), self.cross_attention.build_step()
        inner = self.feed_forward.build_step()
        add_own, add_source = self.self_attention.out_proj.add, self.cross_attention.out_proj.add
        add_inner = self.feed_forward.outer.add
        (before_own, after_own), (before_source, after_source), (before_inner, after_inner) = (
            residual.build_norms()
            for residual in (self.self_attention_residual, self.cross_attention_residual, self.feed_forward_residual)
        )

        def step(
            x: Tensor,
            room: LayerRoom,
            bias: Tensor,
            memory_keys: Tensor,
            memory_values: Tensor,
            memory_bias: Tensor | None,
        ) -> Tensor:
            x = after_own(add_own(own(before_own(x), room, bias), x))
            x = after_source(add_source(source(before_source(x), memory_keys, memory_values, memory_bias), x))
            return after_inner(add_inner(inner(before_inner(x)), x))

        return step
