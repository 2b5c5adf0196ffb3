"""What the heads look at: the attention weights of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtkit.decoding.inference import pad_ids
from mtkit.model.transformer import AttentionKind, Transformer


@dataclass(frozen=True)
class Attention:
    """The weights of one sentence, `(layers, num_heads, queries, keys)` float32 each; every row has the sum 1.

    Attributes:
        encoder: From source tokens to source tokens, tag and EOS included.
        decoder: From inputs of the decoder, the start id first, to those up to themselves; 0 above the diagonal.
        cross: From inputs of the decoder to source tokens.
    """

    encoder: Tensor
    decoder: Tensor
    cross: Tensor

    def of(self, kind: AttentionKind) -> Tensor:
        """Return the weights of a kind."""
        match kind:
            case "encoder":
                return self.encoder
            case "decoder":
                return self.decoder
            case "cross":
                return self.cross


def record_attention(
    model: Transformer, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[Attention]:
    """Return the attention weights of each sentence, from the model's own forward pass.

    Args:
        model: In evaluation mode; call this under `torch.inference_mode()`.
        sources: The source tokens of each sentence, EOS included.
        targets: What the decoder is given: the start id, then the target without EOS.
    """
    found: dict[AttentionKind, list[Tensor]] = {"encoder": [], "decoder": [], "cross": []}

    def record(kind: AttentionKind, layer: int, weights: Tensor) -> None:
        assert layer == len(found[kind])
        found[kind].append(weights)

    src_ids, tgt_ids = (pad_ids(rows, model.config.pad_id, model.device) for rows in (sources, targets))
    model.decode(tgt_ids, *model.encode(src_ids, record), record)
    # (batch, layers, num_heads, queries, keys)
    encoder, decoder, cross = (torch.stack(found[kind], 1).float().cpu() for kind in ("encoder", "decoder", "cross"))
    return [
        Attention(
            encoder[place, :, :, : len(source), : len(source)],
            decoder[place, :, :, : len(target), : len(target)],
            cross[place, :, :, : len(target), : len(source)],
        )
        for place, (source, target) in enumerate(zip(sources, targets, strict=True))
    ]


def select(weights: Tensor, layer: int | None = None, head: int | None = None) -> Tensor:
    """Return the weights of a layer and head, both from 1, as `(queries, keys)`; of what is None, the mean of all.

    Args:
        weights: `(layers, num_heads, queries, keys)`.
        layer: At most as many as there are.
        head: Likewise.
    """
    of_layers = weights if layer is None else weights[layer - 1 : layer]
    of_heads = of_layers if head is None else of_layers[:, head - 1 : head]
    return of_heads.mean((0, 1))
