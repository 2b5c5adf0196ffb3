"""How translations are scored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mtkit.config.section import Section

MetricName = Literal["bleu", "chrf", "ter"]
TokenizerName = Literal["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none", "spm", "flores101", "flores200"]


class EvaluationSection(Section):
    """Metrics and their settings, as sacreBLEU defines them."""

    metrics: list[MetricName] = Field(
        ["bleu", "chrf", "ter"], min_length=1, description="Metrics to compute; chrf is chrF2++."
    )
    tokenize: TokenizerName | None = Field(
        None, description="BLEU's tokeniser. Default: 13a, or what the target language needs."
    )
    lowercase: bool = Field(False, description="Ignore case.")
    bootstrap_samples: int = Field(
        1000, ge=0, description="Resamples for the 95 % interval and the paired bootstrap; 0 for none."
    )
    randomization_trials: int = Field(
        10_000, ge=0, description="Trials of the paired approximate randomisation of two systems; 0 for none."
    )
    seed: int = Field(12345, ge=0, description="Seed of the resampling and of the trials.")
