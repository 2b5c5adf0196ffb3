"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from mtkit.config.training import TrainingSection


def learning_rate_at(step: int, training: TrainingSection, max_steps: int | None) -> float:
    """Return the learning rate of update `step`, 1-based.

    It rises from zero to `learning_rate` over the warm-up, then falls: `inverse_sqrt` (Vaswani et al. 2017, section
    5.3, up to the constant) as sqrt(warmup / step); `linear` and `cosine` to zero behind the last step; `constant`
    not at all.

    Args:
        step: 1 for the first update.
        training: Peak, warm-up and schedule.
        max_steps: Number of updates of the run, where it is known.
    """
    warmup = warmup_steps(training, max_steps)
    peak = training.learning_rate
    if step <= warmup:
        return peak * step / warmup
    match training.schedule:
        case "inverse_sqrt":
            return peak * math.sqrt(max(warmup, 1) / step)
        case "linear":
            return peak * (1 - _share_done(step, warmup, max_steps))
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * _share_done(step, warmup, max_steps)))
        case "constant":
            return peak


def warmup_steps(training: TrainingSection, max_steps: int | None) -> int:
    """Return the warm-up in steps: as set, but at most a tenth of all steps where their number is known."""
    if max_steps is None:
        return training.warmup_steps
    return min(training.warmup_steps, max_steps // 10)


def validation_interval(training: TrainingSection, max_steps: int | None) -> int:
    """Return after how many steps to validate: as set, or ten times a run, at least every 1,000 steps."""
    if training.validate_every_steps is not None:
        return training.validate_every_steps
    return 500 if max_steps is None else min(1000, math.ceil(max_steps / 10))


def saving_interval(training: TrainingSection, max_steps: int | None) -> int:
    """Return after how many steps to write a checkpoint: as set, or at each validation."""
    return training.save_every_steps or validation_interval(training, max_steps)


def _share_done(step: int, warmup: int, max_steps: int | None) -> float:
    assert max_steps is not None, "linear and cosine need the number of steps"
    return min(1.0, (step - warmup) / (max_steps + 1 - warmup))
