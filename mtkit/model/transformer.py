"""The Transformer encoder-decoder of "Attention Is All You Need" (Vaswani et al. 2017, arXiv:1706.03762)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mtkit.config.model import ModelConfig
from mtkit.model.cache import DecoderState, KVCache
from mtkit.model.dropout import Dropout
from mtkit.model.layers import DecoderLayer, EncoderLayer
from mtkit.model.linear import Linear
from mtkit.model.positions import PositionEncoding


class Transformer(nn.Module):
    """Source token ids in, logits of target tokens out.

    Training calls the model itself; decoding calls `encode`, `start_decoding` and then `decode_step` a token.

    Attributes:
        recompute_layers: Whether training keeps only the input of each layer and computes the layer again, with the
            same dropout, in the backward pass (activation checkpointing, Chen et al. 2016, arXiv:1604.06174). The
            gradient is the same bit for bit; memory is traded for about a third more work.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute_layers = False
        self.source_embedding = nn.Embedding(config.src_vocab_size, config.d_model)
        self.target_embedding = (
            self.source_embedding
            if config.tied_embeddings == "all"
            else nn.Embedding(config.tgt_vocab_size, config.d_model)
        )
        self.output_proj = Linear(config.d_model, config.tgt_vocab_size, bias=config.output_bias)
        if config.tied_embeddings != "none":
            self.output_proj.weight = self.target_embedding.weight
        self.source_positions = PositionEncoding(config)
        self.target_positions = PositionEncoding(config)
        self.dropout = Dropout(config.dropout)
        self.encoder_layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_decoder_layers))
        is_pre = config.norm == "pre"
        self.encoder_norm = nn.LayerNorm(config.d_model) if is_pre else nn.Identity()
        self.decoder_norm = nn.LayerNorm(config.d_model) if is_pre else nn.Identity()
        self.initialize()

    def initialize(self) -> None:
        """Draw all weights from torch's default generator.

        Matrices by Xavier's uniform rule, the fused ones part by part; embeddings and learned positions from a normal
        distribution of deviation d_model^-0.5, so that, scaled by sqrt(d_model), they have unit variance; biases zero.
        """
        d_model = self.config.d_model
        for name, parameter in self.named_parameters():
            if "embedding" in name or "positions" in name or "output_proj.weight" in name:
                nn.init.normal_(parameter, std=d_model**-0.5)
            elif "qkv_proj.weight" in name or "kv_proj.weight" in name:
                for part in torch.split(parameter, d_model):
                    nn.init.xavier_uniform_(part)
            elif parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)
            elif "norm" not in name:
                nn.init.zeros_(parameter)

    @property
    def max_length(self) -> int | None:
        """Longest source and target in tokens, EOS included, where positions are learned; None for no limit."""
        return self.source_positions.max_length

    def forward(self, src_ids: Tensor, tgt_ids: Tensor) -> Tensor:
        """Return the logits of each next target token.

        Args:
            src_ids: `(batch, src_len)` int64, EOS included, padded with `pad_id` behind.
            tgt_ids: `(batch, tgt_len)` int64, what the decoder is given: the start id, then the target without EOS.

        Returns:
            `(batch, tgt_len, vocab)`.
        """
        memory, mask = self.encode(src_ids)
        return self.project(self.decode(tgt_ids, memory, mask))

    def encode(self, src_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sources.

        Args:
            src_ids: `(batch, src_len)` int64, padded with `pad_id` behind.

        Returns:
            The memory, `(batch, src_len, d_model)`, and its mask, `(batch, 1, 1, src_len)` bool, True for real tokens.
        """
        mask = (src_ids != self.config.pad_id)[:, None, None, :]
        x = self._embed(src_ids, self.source_embedding, self.source_positions)
        for layer in self.encoder_layers:
            x = self._run_layer(layer, x, mask)
        return self.encoder_norm(x), mask

    def decode(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Return the decoder's states at all positions: `(batch, tgt_len, d_model)`; `project` makes logits of them.

        Args:
            tgt_ids: `(batch, tgt_len)` int64, beginning with the start id.
            memory: `(batch, src_len, d_model)`.
            memory_mask: `(batch, 1, 1, src_len)` bool.
        """
        length = tgt_ids.size(1)
        causal_mask = torch.ones(length, length, dtype=torch.bool, device=tgt_ids.device).tril()
        x = self._embed(tgt_ids, self.target_embedding, self.target_positions)
        for layer in self.decoder_layers:
            x = self._run_layer(layer, x, causal_mask, memory, memory_mask)
        return self.decoder_norm(x)  # type: ignore[no-any-return]

    def project(self, states: Tensor) -> Tensor:
        """Map decoder states `(..., d_model)` to logits `(..., vocab)`."""
        return self.output_proj(states)  # type: ignore[no-any-return]

    def start_decoding(self, src_ids: Tensor) -> DecoderState:
        """Encode sources, `(batch, src_len)`, and return the state before the first target token."""
        memory, mask = self.encode(src_ids)
        projected = [layer.cross_attention.project_memory(memory) for layer in self.decoder_layers]  # type: ignore[union-attr, operator]
        return DecoderState([KVCache() for _ in self.decoder_layers], projected, mask)

    def decode_step(self, token_ids: Tensor, state: DecoderState) -> Tensor:
        """Return the logits of the next token of each row, and extend `state` by one position.

        Args:
            token_ids: `(rows,)` int64, the newest token of each hypothesis; rows = batch x beam, sentence-major.
            state: Updated in place.

        Returns:
            `(rows, vocab)`.
        """
        x = self._embed(token_ids.unsqueeze(1), self.target_embedding, self.target_positions, state.length)
        for layer, cache, keys_values in zip(self.decoder_layers, state.caches, state.memory_keys_values, strict=True):
            x = layer.step(x, cache, keys_values, state.memory_mask)  # type: ignore[operator]
        state.length += 1
        return self.project(self.decoder_norm(x).squeeze(1))

    def _run_layer(self, layer: nn.Module, *inputs: Tensor) -> Tensor:
        if self.recompute_layers and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
        return layer(*inputs)  # type: ignore[no-any-return]

    def _embed(self, token_ids: Tensor, embedding: nn.Embedding, positions: PositionEncoding, start: int = 0) -> Tensor:
        x = functional.embedding(token_ids, embedding.weight) * math.sqrt(self.config.d_model)
        x = positions(x, start)
        if torch.is_autocast_enabled(x.device.type):
            # The sublayers' outputs are of that type; a residual stream of another would be cast at each of them.
            x = x.to(torch.get_autocast_dtype(x.device.type))
        return self.dropout(x)  # type: ignore[no-any-return]


def build_model(config: ModelConfig) -> Transformer:
    """Return a model with freshly drawn weights."""
    return Transformer(config)
