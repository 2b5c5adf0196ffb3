"""The SentencePiece vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from mtkit.config.section import Section

# What SentencePiece calls its own symbols: others of these names would take the place of those.
RESERVED_SYMBOLS = {"<pad>", "<unk>", "<s>", "</s>"}


class VocabularySection(Section):
    """The subword vocabulary: learned from the training text, or taken from existing SentencePiece models."""

    size: int = Field(8000, ge=16, description="Number of pieces, special symbols included.")
    type: Literal["unigram", "bpe"] = Field("bpe", description="SentencePiece model type.")
    separate: bool = Field(False, description="Learn one vocabulary for each side instead of one shared by both.")
    character_coverage: float = Field(
        1.0, ge=0.98, le=1, description="Share of the characters that get a piece; 0.9995 suits Chinese and Japanese."
    )
    byte_fallback: bool = Field(False, description="Spell unknown characters as bytes instead of the unknown symbol.")
    user_defined_symbols: list[str] = Field([], description="Symbols that are always one piece, such as tags.")
    sample_sentences: int = Field(
        2_000_000,
        ge=1,
        description="Learn from at most so many sentences, sampled from the training text; they are held in memory.",
    )
    normalization: Literal["identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"] = Field(
        "identity",
        description="SentencePiece normalisation rule. All but `identity` alter typography (quotes, spaces, ½, …) in "
        "both sides, so the model could not produce it.",
    )
    source_model: Path | None = Field(
        None, description="Take this SentencePiece model, or those of this model folder, instead of learning one."
    )
    target_model: Path | None = Field(None, description="The same for the target, where it is another one.")

    @field_validator("user_defined_symbols")
    @classmethod
    def _are_free(cls, symbols: list[str]) -> list[str]:
        if taken := [symbol for symbol in symbols if symbol in RESERVED_SYMBOLS]:
            raise ValueError(f"'{taken[0]}' is a special symbol of every vocabulary: choose another")
        return symbols

    @model_validator(mode="after")
    def _models(self) -> VocabularySection:
        if self.target_model and not self.source_model:
            raise ValueError("`target_model` needs `source_model`")
        return self
