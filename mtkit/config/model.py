"""The Transformer's shape: presets and what overrides them, and the form that is stored beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from mtkit.config.section import Section

Preset = Literal["tiny", "small", "base", "big"]

# Vaswani et al. 2017, table 3, gives `base` and `big`, post-norm as published. `tiny` and `small` are for small data
# and CPUs; they are pre-norm, which trains from the first step at the high rates and short warm-ups that small data
# wants, where post-norm needs thousands of careful steps (Xiong et al. 2020, arXiv:2002.04745).
PRESETS: dict[Preset, dict[str, Any]] = {
    "tiny": {"d_model": 128, "d_ff": 512, "num_heads": 4, "norm": "pre", "dropout": 0.1},
    "small": {"d_model": 256, "d_ff": 1024, "num_heads": 4, "norm": "pre", "dropout": 0.1},
    "base": {"d_model": 512, "d_ff": 2048, "num_heads": 8, "norm": "post", "dropout": 0.1},
    "big": {"d_model": 1024, "d_ff": 4096, "num_heads": 16, "norm": "post", "dropout": 0.3},
}


class ModelSection(Section):
    """The model: a preset, and the fields that differ from it."""

    preset: Preset = Field("small", description="tiny (128 wide), small (256), base (512, the paper's), big (1024).")
    d_model: int | None = Field(None, ge=2, description="Width of the model.")
    d_ff: int | None = Field(None, ge=1, description="Inner width of the feed-forward layers.")
    num_heads: int | None = Field(None, ge=1, description="Attention heads; divides d_model.")
    num_encoder_layers: int = Field(6, ge=1, description="Encoder layers.")
    num_decoder_layers: int = Field(6, ge=1, description="Decoder layers.")
    norm: Literal["pre", "post"] | None = Field(
        None, description="Layer norm before each sublayer (pre) or after its residual (post, as published)."
    )
    positions: Literal["sinusoidal", "learned"] = Field("sinusoidal", description="Position encoding.")
    position_layout: Literal["interleaved", "split"] = Field(
        "interleaved",
        description="Sinusoidal positions: sines and cosines in turn, or in two halves, as OPUS-MT has them.",
    )
    max_positions: int = Field(1024, ge=2, description="Longest sequence of learned positions, in tokens.")
    activation: Literal["relu", "swish"] = Field(
        "relu", description="Non-linearity of the feed-forward layers; OPUS-MT has swish."
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="Dropout of embeddings and sublayer outputs.")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of attention weights.")
    activation_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout after the non-linearity.")
    tied_embeddings: Literal["all", "target", "none"] = Field(
        "all", description="Share source, target and output matrices (all), target and output (target), or nothing."
    )
    output_bias: bool = Field(False, description="Add a bias to the logits, as OPUS-MT does.")


class ModelConfig(Section):
    """What a model is, without reference to a preset: `config.json` of a model folder holds it.

    Ids of source and target lie in one space where the vocabulary is shared. `decoder_start_id` is the first input of
    the decoder; this project's own models start with `bos_id`. `pad_id` and `bos_id` are never produced; where
    there is no begin of sentence, and padding starts the decoder, all three are one id.
    """

    src_vocab_size: int = Field(ge=5)
    tgt_vocab_size: int = Field(ge=5)
    pad_id: int = Field(0, ge=0)
    unk_id: int = Field(1, ge=0)
    bos_id: int = Field(2, ge=0)
    eos_id: int = Field(3, ge=0)
    decoder_start_id: int = Field(2, ge=0)
    d_model: int = Field(ge=2)
    d_ff: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    num_encoder_layers: int = Field(ge=1)
    num_decoder_layers: int = Field(ge=1)
    norm: Literal["pre", "post"]
    positions: Literal["sinusoidal", "learned"]
    position_layout: Literal["interleaved", "split"] = "interleaved"
    max_positions: int = Field(ge=2)
    activation: Literal["relu", "swish"] = "relu"
    dropout: float = Field(ge=0, lt=1)
    attention_dropout: float = Field(ge=0, lt=1)
    activation_dropout: float = Field(ge=0, lt=1)
    tied_embeddings: Literal["all", "target", "none"]
    output_bias: bool = False

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if self.d_model % self.num_heads:
            raise ValueError(f"`num_heads` must divide `d_model`: {self.d_model} / {self.num_heads}")
        if self.d_model % 2 and self.positions == "sinusoidal":
            raise ValueError(f"sinusoidal positions need an even `d_model`, not {self.d_model}")
        if self.tied_embeddings == "all" and self.src_vocab_size != self.tgt_vocab_size:
            raise ValueError(
                "`tied_embeddings: all` needs one vocabulary for both sides; with separate ones use `target`"
            )
        return self


def build_model_config(
    section: ModelSection, src_vocab_size: int, tgt_vocab_size: int, special_ids: Mapping[str, int] | None = None
) -> ModelConfig:
    """Return the full configuration of a model: the preset, what the section overrides, and the vocabulary.

    Args:
        section: Preset and fields.
        src_vocab_size: Number of source pieces.
        tgt_vocab_size: Number of target pieces.
        special_ids: The ids of `pad`, `unk`, `bos` and `eos`; None for the usual ones. The decoder starts with BOS.

    Raises:
        pydantic.ValidationError: The values contradict each other (`num_heads` does not divide `d_model`).
    """
    values = dict(PRESETS[section.preset])
    values.update({k: v for k, v in section.model_dump(exclude={"preset"}).items() if v is not None})
    if special_ids is not None:
        values.update({f"{name}_id": token_id for name, token_id in special_ids.items()})
        values["decoder_start_id"] = special_ids["bos"]
    return ModelConfig(src_vocab_size=src_vocab_size, tgt_vocab_size=tgt_vocab_size, **values)
