"""How a model is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mtkit.config.section import Section

Averaging = Literal["last", "best", "off"]
Schedule = Literal["inverse_sqrt", "linear", "cosine", "constant"]


class TrainingSection(Section):
    """Batches, optimizer, schedule, validation and checkpoints."""

    seed: int = Field(1, ge=0, description="Decides initial weights, data order and dropout.")
    batch_tokens: int = Field(
        4096, ge=16, description="Tokens of one update: rows x longest side, padding included, over all processes."
    )
    micro_batch_tokens: Annotated[int, Field(ge=16)] | Literal["auto"] = Field(
        "auto",
        description="Tokens that one device computes at once; an update is split into so many pieces as that takes "
        "(gradient accumulation). auto: the largest that fits into memory, found before the first update.",
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="With several processes: each holds the whole model (ddp), or a part of it (fsdp), for models that "
        "outgrow a device.",
    )
    activation_checkpointing: bool = Field(
        False,
        description="Compute the layers again in the backward pass instead of keeping what they made: less memory, "
        "slower.",
    )
    init_from: Path | None = Field(
        None,
        description="Model folder or run whose weights training starts from (fine-tuning). With another vocabulary the "
        "pieces that both have keep their embeddings.",
    )
    corpus_weights: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None,
        description="Shares in which the corpora are drawn, by the name kept with each pair; a corpus not named "
        "here has weight 1.",
    )
    corpus_temperature: float | None = Field(
        None,
        ge=1,
        description="Draw corpora in proportion to pairs^(1/temperature): 1 as they are, larger evens them out.",
    )
    subword_sampling: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Segment the training text anew at each pass: for a bpe vocabulary the chance of leaving a merge "
        "out (BPE-dropout, 0.1 is usual), for unigram the sharpness of the distribution drawn from (0.2 is usual; "
        "smaller is more random). 0 for always the best segmentation.",
    )
    r_drop: float = Field(
        0.0,
        ge=0,
        description="Weight of R-Drop: every batch passes twice with other dropout, and the two outputs are drawn "
        "together (5 is usual). Twice the work an update.",
    )
    max_steps: int | None = Field(None, ge=1, description="Updates to make.")
    max_epochs: int | None = Field(None, ge=1, description="Stop after so many passes over the training text.")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="Updates that fit into so many minutes: the rate is measured once at the start and "
        "turned into `max_steps`; if that is given too, the smaller number counts.",
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="Optimizer.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate, reached at the end of the warm-up.")
    schedule: Schedule | None = Field(
        None,
        description="Learning rate after the warm-up. inverse_sqrt is the paper's (Noam); linear and cosine fall to "
        "zero at the last step. Default: linear where max_steps or max_minutes alone end the run, else inverse_sqrt.",
    )
    warmup_steps: int | None = Field(
        None,
        ge=0,
        description="Steps over which the learning rate rises from zero. Default: 1,000, or a tenth of all steps where "
        "that is known to be fewer.",
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
        None,
        ge=1,
        description="Write a checkpoint after so many updates. Default: at each validation; where the last "
        "checkpoints are averaged, also close to the end.",
    )
    keep_checkpoints: int = Field(5, ge=1, description="Keep so many of the last checkpoints, and as many best ones.")
    best_metric: Literal["bleu", "chrf", "loss"] = Field("bleu", description="What the best checkpoint is best in.")
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after so many validations without a better one. Default: 10 where neither max_steps, "
        "max_epochs nor max_minutes is given, else never.",
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Keep an exponential moving average of the weights with this decay an update (0.999 is usual); it "
        "is what is validated, and what the final model is made of.",
    )
    average: Averaging | None = Field(
        None,
        description="Which checkpoints are averaged to the final model; off takes the best one. Default: the last ones "
        "where max_steps or max_minutes alone end the run, else the best ones; off with ema_decay, which averages by "
        "itself.",
    )
    average_count: int = Field(5, ge=1, description="How many of them are averaged.")
    log_every_steps: int = Field(50, ge=1, description="Write a line of metrics after so many updates.")

    @model_validator(mode="after")
    def _fits(self) -> TrainingSection:
        if self.micro_batch_tokens != "auto" and self.micro_batch_tokens > self.batch_tokens:
            raise ValueError("`micro_batch_tokens` is a part of `batch_tokens` and cannot be larger")
        if self.corpus_weights is not None and self.corpus_temperature is not None:
            raise ValueError("give `corpus_weights` or `corpus_temperature`, not both")
        return self
