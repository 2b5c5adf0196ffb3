"""Initial weights from another model: fine-tuning, also with another vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtkit.checkpoint.model_folder import read_parts
from mtkit.checkpoint.run_folder import find_model
from mtkit.checkpoint.weights import load_weights, read_tensors, unique_weights
from mtkit.config.model import ModelConfig, ModelSection
from mtkit.corpus.tokenizer import Tokenizer
from mtkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from mtkit.model.transformer import Transformer

_VOCABULARY_FIELDS = {"src_vocab_size", "tgt_vocab_size", "pad_id", "unk_id", "bos_id", "eos_id", "decoder_start_id"}
_DROPOUT_FIELDS = {"dropout", "attention_dropout", "activation_dropout"}
_FREE_FIELDS = _VOCABULARY_FIELDS | _DROPOUT_FIELDS  # may differ between the two models

_MATRICES = {"all": 1, "target": 2, "none": 3}  # of embeddings and output, by how they are tied

_EMBEDDING_PREFIXES = ("source_embedding.", "target_embedding.", "output_proj.")


@dataclass(frozen=True)
class CarriedPieces:
    """How many pieces of one side's vocabulary, `size` in all, kept the embeddings that the other model learned."""

    side: str
    count: int
    size: int

    def __str__(self) -> str:
        return f"{self.count:,} of {self.size:,} {self.side} pieces carried over"


@dataclass(frozen=True)
class InitialWeights:
    """Where the initial weights came from, and what of the vocabularies they covered.

    Attributes:
        path: The file of weights.
        source: Pieces of the source.
        target: Pieces of the target.
    """

    path: Path
    source: CarriedPieces
    target: CarriedPieces


def initialize_from(
    model: Transformer, config: ModelConfig, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, path: Path
) -> InitialWeights:
    """Copy the weights of another model into a freshly built one.

    Embeddings and output weights go by piece: a piece that both vocabularies have keeps what the other model learned,
    padding, unknown, begin and end of sentence and the decoder's start go by their role, and a new piece keeps its
    fresh weights. Everything else is copied as it is. Draws no random numbers.

    Args:
        model: Changed in place.
        config: The shape of `model`.
        source_tokenizer: The vocabulary of the source that `model` is for.
        target_tokenizer: The same of the target.
        path: The other model: a model folder, a run, or a checkpoint of one.

    Raises:
        ModelError: There is no model at `path`, it is damaged, or its shape is another one. Vocabularies and dropout
            may differ, and embeddings that the other model shares may be apart here.
    """
    import torch

    from mtkit.model.transformer import build_model

    folder, weights_path = find_model(path)
    parts = read_parts(folder)
    _check_shape(parts.config.model, config, path)
    tensors = read_tensors(weights_path)
    old = build_model(parts.config.model, is_drawn=False)
    load_weights(old, tensors, weights_path)
    source_rows = _match_rows(parts.source_tokenizer, old.config, source_tokenizer, config, "source")
    target_rows = _match_rows(parts.target_tokenizer, old.config, target_tokenizer, config, "target")
    if config.tied_embeddings == "all":  # one matrix, so the same rows
        source_rows = target_rows = source_rows | target_rows
    old_weights = unique_weights(old)
    with torch.no_grad():
        for name, parameter in unique_weights(model).items():
            if not name.startswith(_EMBEDDING_PREFIXES):
                parameter.copy_(old_weights[name])
        _copy_rows(old.source_embedding.weight, model.source_embedding.weight, source_rows)
        _copy_rows(old.target_embedding.weight, model.target_embedding.weight, target_rows)
        _copy_rows(old.output_proj.weight, model.output_proj.weight, target_rows)
        if config.output_bias:
            _copy_rows(old.output_proj.bias, model.output_proj.bias, target_rows)
    return InitialWeights(
        weights_path,
        CarriedPieces("source", len(source_rows), config.src_vocab_size),
        CarriedPieces("target", len(target_rows), config.tgt_vocab_size),
    )


def _match_rows(
    old_tokenizer: Tokenizer, old: ModelConfig, new_tokenizer: Tokenizer, new: ModelConfig, side: str
) -> dict[int, int]:
    """Return, for each id of the new model that the old one knows, its id there."""
    is_target = side == "target"
    old_size = old.tgt_vocab_size if is_target else old.src_vocab_size
    new_size = new.tgt_vocab_size if is_target else new.src_vocab_size
    # The start comes first, so that where it doubles as another symbol, that symbol's own row is the one that counts;
    # but a begin of sentence that only starts the decoder is what started the old one.
    rows = {new.decoder_start_id: old.decoder_start_id} if is_target else {}
    rows |= {new.pad_id: old.pad_id, new.unk_id: old.unk_id, new.eos_id: old.eos_id}
    rows.setdefault(new.bos_id, old.bos_id)
    if old_tokenizer.fingerprint == new_tokenizer.fingerprint:
        return {i: i for i in range(min(old_size, new_size))} | rows
    old_pieces = _piece_ids(old_tokenizer, old, old_size)
    new_pieces = _piece_ids(new_tokenizer, new, new_size)
    return rows | {new_pieces[piece]: old_pieces[piece] for piece in new_pieces.keys() & old_pieces.keys()}


def _piece_ids(tokenizer: Tokenizer, config: ModelConfig, size: int) -> dict[str, int]:
    """Return the ids of pieces by their text, without those that have a role."""
    special = {config.pad_id, config.unk_id, config.bos_id, config.eos_id}
    ids = range(min(size, len(tokenizer)))
    return {piece: i for i, piece in zip(ids, tokenizer.pieces(ids), strict=True) if i not in special}


def _copy_rows(old: Tensor, new: Tensor, rows: dict[int, int]) -> None:
    new[list(rows.keys())] = old[list(rows.values())].to(new)


def _check_shape(old: ModelConfig, new: ModelConfig, path: Path) -> None:
    """Refuse a model whose weights mean something else, or do not exist, in the new one."""
    free = set(_FREE_FIELDS)
    free.add("max_positions" if new.positions == "sinusoidal" else "position_layout")  # of no effect there
    if _MATRICES[new.tied_embeddings] >= _MATRICES[old.tied_embeddings]:
        free.add("tied_embeddings")
    fields = [f for f in ModelConfig.model_fields if f not in free and getattr(old, f) != getattr(new, f)]
    if not fields:
        return
    differences = ", ".join(f"{f} ({_show(old, f)} there, {_show(new, f)} here)" for f in fields)
    if all(f in ModelSection.model_fields for f in fields):
        fix = " ".join(f"--set model.{f}={_show(old, f)}" for f in fields)
    else:
        fix = "start from a model that mtkit trained"
    raise ModelError(f"training cannot start from a model of another shape: {differences}", at=path, fix=fix)


def _show(config: ModelConfig, field: str) -> str:
    return str(getattr(config, field))
