"""How a model is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mtkit.config.section import Section


class TrainingSection(Section):
    """Batches, optimizer, schedule, validation and checkpoints."""

    seed: int = Field(1, ge=0, description="Decides initial weights, data order and dropout.")
    batch_tokens: int = Field(
        4096, ge=16, description="Tokens of one update: rows x longest side, padding included, over all processes."
    )
    micro_batch_tokens: int | None = Field(
        None,
        ge=16,
        description="Tokens computed at once; an update is split into so many pieces as that takes "
        "(gradient accumulation). Default: the whole update.",
    )
    max_steps: int | None = Field(None, ge=1, description="Updates to make.")
    max_epochs: int | None = Field(None, ge=1, description="Stop after so many passes over the training text.")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="Updates that fit into so many minutes: the rate is measured once at the start and "
        "turned into `max_steps`.",
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="Optimizer.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate, reached at the end of the warm-up.")
    schedule: Literal["inverse_sqrt", "linear", "cosine", "constant"] = Field(
        "inverse_sqrt",
        description="Learning rate after the warm-up. inverse_sqrt is the paper's (Noam); linear and "
        "cosine fall to zero at the last step.",
    )
    warmup_steps: int = Field(
        1000,
        ge=0,
        description="Steps over which the learning rate rises from zero; at most a "
        "tenth of all steps where the number of steps is known.",
    )
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="Adam's decay of the mean.")
    adam_beta2: float = Field(0.98, ge=0, lt=1, description="Adam's decay of the squares.")
    adam_epsilon: float = Field(1e-9, gt=0, description="Adam's epsilon.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay; decoupled with adamw.")
    clip_norm: float | None = Field(1.0, gt=0, description="Clip the gradient to this norm.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic of the forward and backward pass; weights and optimizer stay fp32. auto: bf16 "
        "where the device computes it natively.",
    )
    validate_every_steps: int | None = Field(
        None,
        ge=1,
        description="Validate after so many updates. Default: ten times a run, at least every 1,000 updates; every 500 "
        "where the number of updates is not known.",
    )
    validation_sentences: int | None = Field(
        500, ge=1, description="Translate at most so many validation sentences for BLEU; the loss uses all."
    )
    save_every_steps: int | None = Field(
        None, ge=1, description="Write a checkpoint after so many updates. Default: at each validation."
    )
    keep_checkpoints: int = Field(5, ge=1, description="Keep so many of the last checkpoints, and as many best ones.")
    best_metric: Literal["bleu", "chrf", "loss"] = Field("bleu", description="What the best checkpoint is best in.")
    patience: int | None = Field(None, ge=1, description="Stop after so many validations without a better one.")
    average: Literal["last", "best", "off"] = Field("best", description="Which checkpoints make the final model.")
    average_count: int = Field(5, ge=1, description="How many of them are averaged.")
    log_every_steps: int = Field(50, ge=1, description="Write a line of metrics after so many updates.")

    @model_validator(mode="after")
    def _micro(self) -> TrainingSection:
        if self.micro_batch_tokens is not None and self.micro_batch_tokens > self.batch_tokens:
            raise ValueError("`micro_batch_tokens` is a part of `batch_tokens` and cannot be larger")
        return self
