"""The weights of transformers' `MarianMTModel` and mtkit's, which are the same numbers under other names.

mtkit holds the projections of queries, keys and values as one matrix. Positions interleave sines and cosines here, and
hold them in two halves there: that is a permutation of d_model, applied to all weights that read or write the residual
stream, and changes nothing but the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mtkit.config.model import ModelConfig
from mtkit.errors import ModelError
from mtkit.model.positions import sinusoidal_positions

_SHARED = "model.shared.weight"
_SOURCE = "model.encoder.embed_tokens.weight"
_TARGET = "model.decoder.embed_tokens.weight"
_OUTPUT = "lm_head.weight"
_BIAS = "final_logits_bias"
_POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
_POSITION_TOLERANCE = 1e-3  # of tables that were stored in half precision

_ENCODER_PARTS = {
    "self_attention.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention.out_proj": ("self_attn.out_proj",),
    "self_attention_residual.norm": ("self_attn_layer_norm",),
    "feed_forward.inner": ("fc1",),
    "feed_forward.outer": ("fc2",),
    "feed_forward_residual.norm": ("final_layer_norm",),
}
_DECODER_PARTS = _ENCODER_PARTS | {
    "cross_attention.q_proj": ("encoder_attn.q_proj",),
    "cross_attention.kv_proj": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention.out_proj": ("encoder_attn.out_proj",),
    "cross_attention_residual.norm": ("encoder_attn_layer_norm",),
}

# Of which dimension of a matrix the residual stream is, by the end of its name; and whose biases are added to it.
_READS = ("qkv_proj.weight", "q_proj.weight", "kv_proj.weight", "inner.weight")
_WRITES = ("out_proj", "outer", "norm")


def from_marian(tensors: Mapping[str, Tensor], config: ModelConfig, path: Path) -> dict[str, Tensor]:
    """Return weights of a `MarianMTModel` under mtkit's names, in fp32.

    Args:
        tensors: As its file holds them.
        config: The shape of the model.
        path: The file, for an error message.

    Raises:
        ModelError: A tensor is missing, is of another shape, or is none of a `MarianMTModel`.
    """
    left = {name: tensor.float() for name, tensor in tensors.items()}
    _check_positions(left, config, path)
    weights = _take_embeddings(left, config, path)
    for name, parts in _iter_layers(config):
        found = [_take(left, part, path) for part in parts]
        if len({part.shape for part in found}) > 1:
            raise _misfit(f"{parts[0]} and its fellows differ in shape", path)
        weights[name] = torch.cat(found) if len(found) > 1 else found[0]
    if left:
        raise _misfit(f"the file has '{min(left)}', which MarianMTModel lacks", path)
    return weights


def to_marian(weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return weights of mtkit under the names of a `MarianMTModel`, with its positions: sines, then cosines.

    Args:
        weights: Of a model with the shape `config`.
        config: Post-norm, of sinusoidal positions in any layout.
    """
    if config.position_layout == "interleaved":
        weights = permute_positions(weights, "split")
    source = weights["source_embedding.weight"]
    tensors = {_SHARED: source} if config.tied_embeddings == "all" else {_SOURCE: source}
    if config.tied_embeddings != "all":
        tensors[_TARGET] = weights["target_embedding.weight"]
    if config.tied_embeddings == "none":
        tensors[_OUTPUT] = weights["output_proj.weight"]
    bias = weights["output_proj.bias"] if config.output_bias else torch.zeros(config.tgt_vocab_size)
    tensors[_BIAS] = bias.unsqueeze(0)
    for name, parts in _iter_layers(config):
        tensors.update(zip(parts, (part.clone() for part in weights[name].chunk(len(parts))), strict=True))
    return tensors


def permute_positions(weights: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Return the weights of a model for another layout of its positions.

    Args:
        weights: By mtkit's names.
        layout: `split` for those that were `interleaved`, or the other way round.
    """
    d_model = weights["source_embedding.weight"].size(1)
    order = torch.cat([torch.arange(0, d_model, 2), torch.arange(1, d_model, 2)])
    if layout == "interleaved":
        order = order.argsort()
    permuted = {}
    for name, tensor in weights.items():
        if name.endswith(_READS) or "embedding" in name or name == "output_proj.weight":
            permuted[name] = tensor[:, order]
        elif name.rpartition(".")[0].endswith(_WRITES):
            permuted[name] = tensor[order]
        else:
            permuted[name] = tensor
    return permuted


def _iter_layers(config: ModelConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each weight of the layers by mtkit's name, with the names of its parts in a `MarianMTModel`."""
    sides = (
        ("encoder", config.num_encoder_layers, _ENCODER_PARTS),
        ("decoder", config.num_decoder_layers, _DECODER_PARTS),
    )
    for side, num_layers, table in sides:
        for number in range(num_layers):
            for name, parts in table.items():
                for kind in ("weight", "bias"):
                    there = tuple(f"model.{side}.layers.{number}.{part}.{kind}" for part in parts)
                    yield f"{side}_layers.{number}.{name}.{kind}", there


def _take_embeddings(left: dict[str, Tensor], config: ModelConfig, path: Path) -> dict[str, Tensor]:
    """Take embeddings and output out of the tensors that are left."""
    shared = left.pop(_SHARED, None)
    source = left.pop(_SOURCE, shared)
    target = left.pop(_TARGET, shared if config.tied_embeddings != "target" else None)
    output = left.pop(_OUTPUT, None)
    if config.tied_embeddings == "target":
        target = output if target is None else target
    if config.tied_embeddings == "all":
        known = [tensor for tensor in (shared, source, target, output) if tensor is not None]
        if any(not tensor.equal(known[0]) for tensor in known):
            raise _misfit("config.json ties the embeddings, and those of the file differ", path)
        source = target = output = known[0] if known else None
    if config.tied_embeddings == "target" and output is not None and target is not None and not output.equal(target):
        raise _misfit("config.json ties the target's embeddings and the output, and those of the file differ", path)
    wanted = {"source_embedding.weight": (source, _SOURCE)}
    if config.tied_embeddings != "all":
        wanted["target_embedding.weight"] = (target, _TARGET)
    if config.tied_embeddings == "none":
        wanted["output_proj.weight"] = (output, _OUTPUT)
    weights = {}
    for name, (tensor, there) in wanted.items():
        if tensor is None:
            raise _misfit(f"the file lacks '{there}'", path)
        weights[name] = tensor
    weights["output_proj.bias"] = left.pop(_BIAS, torch.zeros(1, config.tgt_vocab_size)).flatten()
    return weights


def _check_positions(left: dict[str, Tensor], config: ModelConfig, path: Path) -> None:
    """Drop the tables of positions that older files hold, if they are what they must be."""
    for name in _POSITIONS:
        table = left.pop(name, None)
        if table is None:
            continue
        fits = table.dim() == 2 and table.size(1) == config.d_model
        expected = sinusoidal_positions(len(table), config.d_model, "split")
        if not fits or not torch.allclose(table, expected, rtol=0, atol=_POSITION_TOLERANCE):
            raise _misfit(f"'{name}' is not the sinusoidal table", path)


def _take(left: dict[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in left:
        raise _misfit(f"the file lacks '{name}'", path)
    return left.pop(name)


def _misfit(what: str, path: Path) -> ModelError:
    return ModelError(f"the weights are not those of a Marian model: {what}", at=path, fix="use the files of one model")
