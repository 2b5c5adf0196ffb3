"""How a model's translations are searched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mtkit.config.section import Section


class DecodingSection(Section):
    """Search, sampling, batching and precision of translation."""

    beam_size: int = Field(5, ge=1, le=1000, description="Hypotheses kept at each step; 1 is greedy.")
    length_penalty: float = Field(1.0, ge=0, le=10, description="Strength of the length penalty; 0 turns it off.")
    length_penalty_type: Literal["wu", "length"] = Field(
        "wu", description="wu: ((5 + n) / 6) ** A (Wu et al. 2016); length: n ** A, plain normalisation."
    )
    early_stopping: bool = Field(
        False,
        description="End the search of a sentence once beam_size translations of it are finished, though one that is "
        "still growing might get a better score.",
    )
    n_best: int = Field(
        1, ge=1, description="Translations returned for each sentence, best first; at most beam_size, unless sampled."
    )
    min_length: int = Field(0, ge=0, description="Shortest translation, in tokens.")
    max_length_ratio: float = Field(2.0, gt=0, description="Longest translation, relative to the source in tokens …")
    max_length_extra: int = Field(20, ge=1, description="… plus so many tokens.")
    no_repeat_ngram: int | None = Field(
        None, ge=1, description="No n-gram of so many tokens appears twice in a translation."
    )
    suppressed: tuple[str, ...] = Field(
        (), description="Pieces of the target vocabulary that are never produced, such as <unk>."
    )
    sampling: bool = Field(
        False, description="Draw n_best translations at random, by the model's probabilities, instead of searching."
    )
    temperature: float = Field(
        1.0, gt=0, description="Sampling: below 1, likely tokens are drawn more often; above 1, less."
    )
    top_k: int | None = Field(None, ge=1, description="Sampling: draw among the so many most likely tokens.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Sampling: draw among the most likely tokens that together have this probability."
    )
    seed: int = Field(
        1, ge=0, description="Sampling: with it, the same sentence always has the same samples, in any batch."
    )
    expand_prefix: bool = Field(
        False,
        description="Let the n_best translations differ in the token after the prefix; each is the best such one.",
    )
    replace_unknown: bool = Field(
        False,
        description="Put the aligned source word in place of an unknown one, in vocabularies without byte fallback.",
    )
    alignment_layer: int | None = Field(
        None, ge=1, description="Decoder layer, from 1, whose attention aligns words. Default: the mean of all."
    )
    alignment_step: Literal["output", "input"] = Field(
        "output",
        description="Attention that aligns a target token: of the step that produces it, or that has it as its input.",
    )
    ensemble: Literal["log_probs", "probs"] = Field(
        "log_probs", description="Several models: the mean of their log-probabilities, or of their probabilities."
    )
    mbr: Literal["chrf", "bleu"] | None = Field(
        None,
        description="Minimum Bayes risk: of mbr_candidates translations, return those most like all of them.",
    )
    mbr_candidates: int = Field(
        32, ge=2, description="Minimum Bayes risk: samples if `sampling` is on, else hypotheses of a beam that wide."
    )
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
    precision: Literal["fp32", "bf16", "int8", "auto"] = Field(
        "fp32",
        description="Arithmetic. auto: bf16 where the device computes it natively. In bf16 and int8 (CPU) results vary "
        "a little with the company a sentence is translated in.",
    )

    @property
    def num_hypotheses(self) -> int:
        """Hypotheses of a sentence that live at once."""
        return self.n_best if self.sampling else self.beam_size

    @model_validator(mode="after")
    def _n_best_fits(self) -> DecodingSection:
        if self.mbr is not None and self.n_best > self.mbr_candidates:
            raise ValueError(f"`n_best` ({self.n_best}) cannot be larger than `mbr_candidates` ({self.mbr_candidates})")
        if self.n_best > self.beam_size and not (self.sampling or self.expand_prefix or self.mbr):
            raise ValueError(f"`n_best` ({self.n_best}) cannot be larger than `beam_size` ({self.beam_size})")
        if self.expand_prefix and self.sampling:
            raise ValueError("`expand_prefix` and `sampling` exclude each other")
        if self.expand_prefix and self.mbr is not None:
            raise ValueError("`expand_prefix` and `mbr` exclude each other")
        return self
