"""The Transformer encoder-decoder of "Attention Is All You Need" (Vaswani et al. 2017, arXiv:1706.03762)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from mtkit.config.model import ModelConfig
from mtkit.model.attention import TakeWeights
from mtkit.model.cache import FEWEST_POSITIONS, DecoderParts, DecoderState, repeat_for_heads
from mtkit.model.dropout import Dropout
from mtkit.model.layers import DecoderLayer, EncoderLayer, build_norm
from mtkit.model.linear import Linear
from mtkit.model.positions import PositionEncoding

AttentionKind = Literal["encoder", "decoder", "cross"]


class Recorder(Protocol):
    """Takes the attention weights of a forward pass, each where it is computed."""

    def __call__(self, kind: AttentionKind, layer: int, weights: Tensor, /) -> None:
        """Take the weights of a layer, from 0, before dropout: `(batch, num_heads, tgt_len, src_len)`, rows of sum 1.

        `encoder` and `decoder` are self-attention, with queries and keys of one side; `cross` goes from the target to
        the source.
        """


class Transformer(nn.Module):
    """Source token ids in, logits of target tokens out.

    Training calls the model itself; decoding calls `encode`, `start_decoding` and then `decode_step` a token.

    Attributes:
        recompute_layers: Whether training keeps only the input of each layer and computes the layer again, with the
            same dropout, in the backward pass (activation checkpointing, Chen et al. 2016, arXiv:1604.06174). The
            gradient is the same bit for bit; memory is traded for about a third more work.
        activation_dtype: Type of what goes from layer to layer; None for that of the weights, or of autocast.
    """

    def __init__(self, config: ModelConfig, is_drawn: bool = True) -> None:
        super().__init__()
        self.config = config
        self.recompute_layers = False
        self.activation_dtype: torch.dtype | None = None
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
        if is_drawn:
            self.initialize()

    def initialize(self) -> None:
        """Draw all weights from torch's default generator.

        Matrices by Xavier's uniform rule, the fused ones part by part; embeddings and learned positions from a normal
        distribution of deviation d_model^-0.5, so that embeddings, which are scaled by sqrt(d_model), have unit
        variance, and positions, which are not, begin small; biases zero.
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

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.source_embedding.weight.device

    @property
    def is_prepared(self) -> bool:
        """Whether the model is laid out for inference, by `mtkit.model.packed.prepare_for_inference`."""
        return self.activation_dtype is not None

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

    def encode(self, src_ids: Tensor, record: Recorder | None = None) -> tuple[Tensor, Tensor]:
        """Encode sources.

        Args:
            src_ids: `(batch, src_len)` int64, padded with `pad_id` behind.
            record: Is given the attention weights of each layer.

        Returns:
            The memory, `(batch, src_len, d_model)`, and its mask, `(batch, 1, 1, src_len)` bool, True for real tokens.
        """
        mask = (src_ids != self.config.pad_id)[:, None, None, :]
        x = self._embed(src_ids, self.source_embedding, self.source_positions)
        if self.is_prepared and record is None and x.device.type == "cpu":
            bias = self._build_bias(mask, x)
            for encode in self._encoder_passes:
                x = encode(x, bias)
            return self.encoder_norm(x), mask
        for number, layer in enumerate(self.encoder_layers):
            x = self._run_layer(layer, x, mask, *_find_takers(record, number, "encoder"))
        return self.encoder_norm(x), mask

    def decode(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, record: Recorder | None = None) -> Tensor:
        """Return the decoder's states at all positions: `(batch, tgt_len, d_model)`; `project` makes logits of them.

        Args:
            tgt_ids: `(batch, tgt_len)` int64, beginning with the start id.
            memory: `(batch, src_len, d_model)`.
            memory_mask: `(batch, 1, 1, src_len)` bool.
            record: Is given the attention weights of each layer.
        """
        return self.decoder_norm(self._run_decoder(len(self.decoder_layers), tgt_ids, memory, memory_mask, record))  # type: ignore[no-any-return]

    def attend_source(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, layer: int | None) -> Tensor:
        """Return the attention weights of a decoder layer over the source: `(batch, num_heads, tgt_len, src_len)`.

        Args:
            tgt_ids: `(batch, tgt_len)` int64, beginning with the start id.
            memory: `(batch, src_len, d_model)`.
            memory_mask: `(batch, 1, 1, src_len)` bool.
            layer: From 0; None for the mean of all layers.
        """
        found: list[Tensor] = []

        def record(kind: AttentionKind, number: int, weights: Tensor) -> None:
            if kind == "cross" and layer in (None, number):
                found.append(weights)

        num_layers = len(self.decoder_layers) if layer is None else layer + 1
        self._run_decoder(num_layers, tgt_ids, memory, memory_mask, record)
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)

    def project(self, states: Tensor) -> Tensor:
        """Map decoder states `(..., d_model)` to logits `(..., vocab)`."""
        return self.output_proj(states)  # type: ignore[no-any-return]

    def start_decoding(self, src_ids: Tensor, beam: int = 1) -> DecoderState:
        """Return the state before the first target token of `beam` hypotheses of each source, `(batch, src_len)`."""
        memory, mask = self.encode(src_ids)
        keys_values = self._project_memory(memory)
        return DecoderState(
            parts=self._decoder_parts if self.is_prepared else self._build_decoder_parts(),
            memory=keys_values,
            memory_bias=self._build_bias(mask, keys_values),
            beam=beam,
        )

    def decode_step(self, token_ids: Tensor, state: DecoderState) -> Tensor:
        """Return the logits of the next token of each row, and extend `state` by one position.

        Args:
            token_ids: `(rows,)` int64, the newest token of each hypothesis; rows = batch x beam, sentence-major. At the
                first step those of a sentence are alike: the start id.
            state: Updated in place.

        Returns:
            `(rows, vocab)`.
        """
        is_first = state.length == 0 and state.is_shared
        if is_first:  # all hypotheses of a sentence are still one: it is computed once
            token_ids = token_ids[:: state.beam]
        x = state.parts.embed(token_ids, state.length)
        rooms, bias = state.extend()
        if is_first:
            bias = bias[:, :1]
        for step, room, (keys, values) in zip(state.parts.layers, rooms, state.memory_parts, strict=True):
            x = step(x, room, bias, keys, values, state.memory_bias)  # (rows, d_model)
        logits = state.parts.project(x)
        return logits.repeat_interleave(state.beam, dim=0) if is_first else logits

    def _project_memory(self, memory: Tensor) -> Tensor:
        """Return keys and values of the source, `(num_layers, 2, batch, num_heads, positions, head_dim)`.

        There are at least `FEWEST_POSITIONS`; those behind the source are zero.
        """
        positions = max(memory.size(1), FEWEST_POSITIONS)
        keys_values = torch.empty(0)
        for number, layer in enumerate(self.decoder_layers):  # one after the other, which takes less memory
            projected = layer.cross_attention.start(memory)  # type: ignore[union-attr, operator]
            if number == 0:
                two, batch, num_heads, _, head_dim = projected.shape
                shape = (len(self.decoder_layers), two, batch, num_heads, positions, head_dim)
                keys_values = projected.new_zeros(shape)
            keys_values[number].narrow(3, 0, memory.size(1)).copy_(projected)
        return keys_values

    def _run_decoder(
        self, num_layers: int, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, record: Recorder | None
    ) -> Tensor:
        """Return what the first layers of the decoder make of all positions: `(batch, tgt_len, d_model)`."""
        length = tgt_ids.size(1)
        causal_mask = torch.ones(length, length, dtype=torch.bool, device=tgt_ids.device).tril()
        x = self._embed(tgt_ids, self.target_embedding, self.target_positions)
        for number, layer in enumerate(self.decoder_layers[:num_layers]):
            takers = _find_takers(record, number, "decoder", "cross")
            x = self._run_layer(layer, x, causal_mask, memory, memory_mask, *takers)
        return x

    def _run_layer(self, layer: nn.Module, *inputs: Tensor | TakeWeights) -> Tensor:
        if self.recompute_layers and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
        return layer(*inputs)  # type: ignore[no-any-return]

    def _embed(self, token_ids: Tensor, embedding: nn.Embedding, positions: PositionEncoding) -> Tensor:
        x = functional.embedding(token_ids, embedding.weight) * math.sqrt(self.config.d_model)
        return self.dropout(_cast(positions(x), self.activation_dtype))  # type: ignore[no-any-return]

    def _build_bias(self, mask: Tensor, like: Tensor) -> Tensor | None:
        """Return what rules padding out of attention to the source, in the type of `like`; None if nothing is.

        Args:
            mask: `(batch, 1, 1, src_len)` bool, True for real tokens.
            like: Any tensor on the mask's device.

        Returns:
            `(batch * num_heads, 1, positions)`: the source's, and padding up to `FEWEST_POSITIONS`.
        """
        missing = FEWEST_POSITIONS - mask.size(-1)
        if missing > 0:
            mask = functional.pad(mask, (0, missing))
        if bool(mask.all()):
            return None
        bias = like.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)
        return repeat_for_heads(bias.squeeze(1), self.config.num_heads)

    @cached_property
    def _encoder_passes(self) -> list[Callable[[Tensor, Tensor | None], Tensor]]:
        return [layer.build_pass() for layer in self.encoder_layers]  # type: ignore[operator]

    @cached_property
    def _decoder_parts(self) -> DecoderParts:
        return self._build_decoder_parts()

    def _build_decoder_parts(self) -> DecoderParts:
        embeddings, positions = self.target_embedding.weight, self.target_positions
        norm, project = build_norm(self.decoder_norm), self.output_proj.forward
        scale, dtype = math.sqrt(self.config.d_model), self.activation_dtype

        def embed(token_ids: Tensor, position: int) -> Tensor:
            x = embeddings.index_select(0, token_ids)
            return _cast(torch.add(positions.find(position, position + 1), x, alpha=scale), dtype)

        return DecoderParts(
            embed,
            [layer.build_step() for layer in self.decoder_layers],  # type: ignore[operator]
            lambda x: project(norm(x)),
        )


def _cast(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return embeddings in the type of what goes from layer to layer; None for that of autocast, or their own."""
    if dtype is None and torch.is_autocast_enabled(x.device.type):
        # The sublayers' outputs are of that type; a residual stream of another would be cast at each of them.
        dtype = torch.get_autocast_dtype(x.device.type)
    return x if dtype is None or x.dtype is dtype else x.to(dtype)


def _find_takers(record: Recorder | None, layer: int, *kinds: AttentionKind) -> Sequence[TakeWeights]:
    """Return what a layer hands its weights to; nothing where nobody asks."""
    return [] if record is None else [partial(record, kind, layer) for kind in kinds]


class _DrawNothing(TorchFunctionMode):
    """Lets torch's modules leave their weights as they were allocated: drawing takes most of the time of building."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def build_model(config: ModelConfig, is_drawn: bool = True) -> Transformer:
    """Return a model with freshly drawn weights; not `is_drawn`, with whatever memory held, to be overwritten."""
    if is_drawn:
        return Transformer(config)
    with _DrawNothing():
        return Transformer(config, is_drawn=False)
