"""How a model's translations are searched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mtkit.config.section import Section


class DecodingSection(Section):
    """Search, batching and precision of translation."""

    beam_size: int = Field(5, ge=1, le=1000, description="Hypotheses kept at each step; 1 is greedy.")
    length_penalty: float = Field(1.0, ge=0, description="Strength of the length penalty; 0 turns it off.")
    length_penalty_type: Literal["wu", "length"] = Field(
        "wu", description="wu: ((5 + n) / 6) ** A (Wu et al. 2016); length: n ** A, plain normalisation."
    )
    n_best: int = Field(1, ge=1, description="Translations returned for each sentence, best first; at most beam_size.")
    max_length_ratio: float = Field(2.0, gt=0, description="Longest translation, relative to the source in tokens …")
    max_length_extra: int = Field(20, ge=1, description="… plus so many tokens.")
    max_source_tokens: int = Field(
        250,
        ge=8,
        description="Longer lines are cut at sentence marks, else clauses, words or characters, translated "
        "in parts and rejoined.",
    )
    tag: str | None = Field(
        None,
        description="Symbol put before each source sentence, such as <2de> (translate into German), for models whose "
        "training text had such tags.",
    )
    batch_size: int = Field(64, ge=1, description="Sentences translated at once, at most.")
    batch_tokens: int = Field(4096, ge=16, description="Source tokens translated at once, padding included, at most.")
    precision: Literal["fp32", "bf16", "auto"] = Field(
        "fp32",
        description="Arithmetic. auto: bf16 where the device computes it natively; results then vary a little "
        "with the company a sentence is translated in.",
    )

    @model_validator(mode="after")
    def _n_best_fits(self) -> DecodingSection:
        if self.n_best > self.beam_size:
            raise ValueError(f"`n_best` ({self.n_best}) cannot be larger than `beam_size` ({self.beam_size})")
        return self
