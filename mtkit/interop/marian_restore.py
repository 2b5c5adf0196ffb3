"""Gives back the very model that `mtkit export --to transformers` was given, by the record that the export holds."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from mtkit.config.model import ModelConfig
from mtkit.corpus.tokenizer import SOURCE_FILE, Tokenizer
from mtkit.corpus.vocab_tokenizer import VocabTokenizer
from mtkit.errors import ModelError
from mtkit.interop.marian_export import build_table
from mtkit.interop.marian_weights import permute_positions
from mtkit.interop.record import read_record


def restore(
    folder: Path, config: ModelConfig, weights: dict[str, Tensor], tokenizers: tuple[Tokenizer, Tokenizer]
) -> tuple[ModelConfig, dict[str, Tensor], tuple[Tokenizer, Tokenizer]]:
    """Give back the very model that was exported, where the record of the export says what it was."""
    recorded = _read_recorded(folder)
    if recorded is None or recorded.norm != "post" or recorded.positions != "sinusoidal":
        return config, weights, tokenizers
    free = {"bos_id": config.bos_id, "position_layout": "split", "output_bias": True}
    plain = _make_plain(tokenizers, recorded)
    has_own_bias = not recorded.output_bias and bool(weights["output_proj.bias"].any())
    if recorded.model_copy(update=free) != config or has_own_bias or plain is None:
        return config, weights, tokenizers
    if recorded.position_layout == "interleaved":
        weights = permute_positions(weights, "interleaved")
    if not recorded.output_bias:
        weights = {name: tensor for name, tensor in weights.items() if name != "output_proj.bias"}
    return recorded, weights, plain


def restore_tags(folder: Path, tokenizer: Tokenizer) -> list[str | None]:
    """Return the tags of the model that was exported; none where there is no record, or one of another vocabulary."""
    tags = (read_record(folder) or {}).get("tags")
    if not isinstance(tags, list):
        return []
    is_known = all(tag is None or (isinstance(tag, str) and tokenizer.find_symbol(tag) is not None) for tag in tags)
    return tags if is_known else []


def _read_recorded(folder: Path) -> ModelConfig | None:
    record = read_record(folder)
    try:
        return None if record is None else ModelConfig.model_validate(record["made_from"]["model"])
    except (KeyError, TypeError, ValidationError):
        return None


def _make_plain(tokenizers: tuple[Tokenizer, Tokenizer], config: ModelConfig) -> tuple[Tokenizer, Tokenizer] | None:
    """Return the tokenizers of the model that was exported, without the tables that only transformers needs.

    None where these are not those of that model.
    """
    if config.bos_id == config.pad_id:
        return tokenizers
    plain = []
    for tokenizer in tokenizers:
        assert isinstance(tokenizer, VocabTokenizer)
        try:
            own = Tokenizer(tokenizer.serialized, SOURCE_FILE)
        except ModelError:
            return None
        if build_table(own) != json.loads(tokenizer.table) or own.bos_id != config.bos_id:
            return None
        plain.append(own)
    source, target = plain
    return (source, source) if source.shares_ids(target) else (source, target)
