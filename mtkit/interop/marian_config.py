"""`config.json` and `generation_config.json` of a Marian model of transformers, and the shape that they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mtkit.checkpoint.model_folder import CONFIG_NAME, refuse_ctranslate2
from mtkit.config.model import ModelConfig
from mtkit.errors import ModelError
from mtkit.runtime.files import read_json

GENERATION_NAME = "generation_config.json"

_ACTIVATIONS = {"relu": "relu", "swish": "swish", "silu": "swish"}

# Fields of older files, which today's transformers leaves out: what they must be where they stand.
_FIXED = {
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "static_position_embeddings": True,
}


class MarianConfig(BaseModel):
    """What mtkit reads of both files; the defaults are those of transformers' `MarianConfig`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    vocab_size: int
    decoder_vocab_size: int | None = None
    max_position_embeddings: int = 1024
    d_model: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    activation_function: str = "gelu"
    scale_embedding: bool = False
    share_encoder_decoder_embeddings: bool = True
    tie_word_embeddings: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    pad_token_id: int = 58100
    eos_token_id: int | list[int] = 0
    bos_token_id: int | None = None
    decoder_start_token_id: int = 58100
    forced_eos_token_id: int | list[int] | None = None
    bad_words_ids: list[list[int]] | None = None
    normalize_before: bool = False
    normalize_embedding: bool = False
    add_final_layer_norm: bool = False
    static_position_embeddings: bool = True

    @property
    def forbidden_ids(self) -> set[int]:
        """The tokens that are never produced."""
        return {ids[0] for ids in self.bad_words_ids or [] if len(ids) == 1}

    @property
    def tgt_vocab_size(self) -> int:
        """Rows of the target's embeddings and of the output."""
        return self.vocab_size if self.share_encoder_decoder_embeddings else self.decoder_vocab_size or self.vocab_size


def read_marian_config(folder: Path) -> MarianConfig:
    """Read what a Marian model of transformers is.

    Raises:
        ModelError: The files are missing or damaged, or are those of another kind of model.
    """
    path = folder / CONFIG_NAME
    raw = _read_object(path)
    if "format_version" in raw and "mtkit_version" in raw:
        raise ModelError("this is a model folder of mtkit already", at=folder, fix="use it as it is")
    if raw.get("model_type") != "marian":
        refuse_ctranslate2(folder)
        raise ModelError(
            f"mtkit imports models of the Marian family, and this is of model_type {raw.get('model_type')!r}",
            at=path,
            fix="give a model of transformers' MarianMTModel, such as those of OPUS-MT",
        )
    if (folder / GENERATION_NAME).is_file():
        raw |= _read_object(folder / GENERATION_NAME)
    try:
        return MarianConfig.model_validate(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ModelError(
            f"{CONFIG_NAME}: {'.'.join(map(str, first['loc']))}: {first['msg']}", at=path, fix="copy the model again"
        ) from exc


def build_imported_config(marian: MarianConfig, unk_id: int, path: Path) -> ModelConfig:
    """Return the shape of a Marian model in mtkit's words.

    Most have no begin of sentence: `bos_id` is then `pad_id`. Neither is ever produced.

    Args:
        marian: What its files say.
        unk_id: The unknown symbol, which they do not name.
        path: Of the configuration, for an error message.

    Raises:
        ModelError: mtkit lacks something that the model has; all such fields are named.
    """
    _refuse_others(marian, path)
    eos_id = marian.eos_token_id if isinstance(marian.eos_token_id, int) else marian.eos_token_id[0]
    tied = "none" if not marian.tie_word_embeddings else "all" if marian.share_encoder_decoder_embeddings else "target"
    values: dict[str, Any] = {
        "src_vocab_size": marian.vocab_size,
        "tgt_vocab_size": marian.tgt_vocab_size,
        "pad_id": marian.pad_token_id,
        "unk_id": unk_id,
        "bos_id": marian.bos_token_id if marian.bos_token_id in marian.forbidden_ids else marian.pad_token_id,
        "eos_id": eos_id,
        "decoder_start_id": marian.decoder_start_token_id,
        "d_model": marian.d_model,
        "d_ff": marian.encoder_ffn_dim,
        "num_heads": marian.encoder_attention_heads,
        "num_encoder_layers": marian.encoder_layers,
        "num_decoder_layers": marian.decoder_layers,
        "norm": "post",
        "positions": "sinusoidal",
        "position_layout": "split",
        "max_positions": marian.max_position_embeddings,
        "activation": _ACTIVATIONS[marian.activation_function],
        "dropout": marian.dropout,
        "attention_dropout": marian.attention_dropout,
        "activation_dropout": marian.activation_dropout,
        "tied_embeddings": tied,
        "output_bias": True,
    }
    try:
        return ModelConfig(**values)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ModelError(f"{CONFIG_NAME}: {field}: {first['msg']}", at=path, fix="copy the model again") from exc


def _refuse_others(marian: MarianConfig, path: Path) -> None:
    """Refuse a model with something that mtkit lacks."""
    eos_ids = marian.eos_token_id if isinstance(marian.eos_token_id, list) else [marian.eos_token_id]
    checks = {
        "activation_function": (marian.activation_function in _ACTIVATIONS, "relu or swish"),
        "scale_embedding": (marian.scale_embedding, "true"),
        "decoder_ffn_dim": (marian.decoder_ffn_dim == marian.encoder_ffn_dim, "that of the encoder"),
        "decoder_attention_heads": (
            marian.decoder_attention_heads == marian.encoder_attention_heads,
            "those of the encoder",
        ),
        "eos_token_id": (len(eos_ids) == 1, "a single one"),
        "forced_eos_token_id": (marian.forced_eos_token_id in (None, *eos_ids, eos_ids), "eos_token_id"),
    }
    checks |= {name: (getattr(marian, name) == value, json.dumps(value)) for name, value in _FIXED.items()}
    wrong = [
        f"{name} is {json.dumps(getattr(marian, name))}, and mtkit has {wanted}"
        for name, (fits, wanted) in checks.items()
        if not fits
    ]
    if wrong:
        raise ModelError(
            f"mtkit cannot compute this model: {'; '.join(wrong)}", at=path, fix="use transformers for this one"
        )


def build_marian_config(config: ModelConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `config.json` and `generation_config.json` for a model of mtkit, to be read by transformers.

    Args:
        config: Post-norm, of sinusoidal positions in any layout.

    Raises:
        ModelError: transformers' `MarianMTModel` lacks something that the model has; all such fields are named.
    """
    wrong = []
    if config.norm != "post":
        wrong.append(f"norm is {config.norm}, and it has post")
    if config.positions != "sinusoidal":
        wrong.append(f"positions is {config.positions}, and it has sinusoidal")
    if wrong:
        raise ModelError(
            f"MarianMTModel of transformers cannot compute this model: {'; '.join(wrong)}",
            at="--to transformers",
            fix="train with --set model.norm=post and sinusoidal positions, or use --to ctranslate2",
        )
    never = sorted({config.pad_id, config.bos_id})
    ids = {
        "pad_token_id": config.pad_id,
        "bos_token_id": config.bos_id if config.bos_id != config.pad_id else None,
        "eos_token_id": config.eos_id,
        "decoder_start_token_id": config.decoder_start_id,
        "forced_eos_token_id": config.eos_id,
    }
    model = {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "vocab_size": config.src_vocab_size,
        "decoder_vocab_size": config.tgt_vocab_size,
        "max_position_embeddings": config.max_positions,
        "d_model": config.d_model,
        "encoder_layers": config.num_encoder_layers,
        "encoder_ffn_dim": config.d_ff,
        "encoder_attention_heads": config.num_heads,
        "decoder_layers": config.num_decoder_layers,
        "decoder_ffn_dim": config.d_ff,
        "decoder_attention_heads": config.num_heads,
        "activation_function": config.activation,
        "scale_embedding": True,
        "normalize_before": False,
        "static_position_embeddings": True,
        "share_encoder_decoder_embeddings": config.tied_embeddings == "all",
        "tie_word_embeddings": config.tied_embeddings != "none",
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "init_std": 0.02,
        "dtype": "float32",
        "use_cache": True,
    }
    generation = {
        **ids,
        "bad_words_ids": [[token_id] for token_id in never],
        "max_length": min(512, config.max_positions),
        "num_beams": 5,
        "early_stopping": "never",
        "length_penalty": 1.0,
    }
    return model | ids, generation


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileNotFoundError as exc:
        raise ModelError(
            f"no {path.name} here", at=path.parent, fix="give the folder of a Marian model, or its name on the hub"
        ) from exc
    except (OSError, ValueError) as exc:
        raise ModelError("not a JSON object", at=path, fix="copy the model again, whole") from exc
