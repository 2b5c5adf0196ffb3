"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from mtkit.config.training import Averaging, TrainingSection

# Schedules that fall to zero at the last step, and so need to know it.
FALLING = frozenset({"linear", "cosine"})


def learning_rate_at(step: int, training: TrainingSection, max_steps: int | None) -> float:
    """Return the learning rate of update `step`, 1-based.

    It rises from zero to `learning_rate` over the warm-up, then falls: `inverse_sqrt` (Vaswani et al. 2017, section
    5.3, up to the constant) as sqrt(warmup / step); `linear` and `cosine` to zero behind the last step; `constant`
    not at all. By default it is `linear` where the end of the run is known, else `inverse_sqrt`.

    Args:
        step: 1 for the first update.
        training: Peak, warm-up and schedule.
        max_steps: Number of updates of the run, where it is known.
    """
    warmup = warmup_steps(training, max_steps)
    peak = training.learning_rate
    if step <= warmup:
        return peak * step / warmup
    match training.schedule or ("linear" if has_known_end(training, max_steps) else "inverse_sqrt"):
        case "inverse_sqrt":
            return peak * math.sqrt(max(warmup, 1) / step)
        case "linear":
            return peak * (1 - _share_done(step, warmup, max_steps))
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * _share_done(step, warmup, max_steps)))
        case "constant":
            return peak


def has_known_end(training: TrainingSection, max_steps: int | None) -> bool:
    """Return whether a run ends after `max_steps` updates, and nothing can end it before."""
    return max_steps is not None and training.patience is None and training.max_epochs is None


def warmup_steps(training: TrainingSection, max_steps: int | None) -> int:
    """Return the warm-up in steps: as set, or 1,000, but then at most a tenth of all steps where they are known."""
    if training.warmup_steps is not None:
        return training.warmup_steps
    return 1000 if max_steps is None else min(1000, max_steps // 10)


def validation_interval(training: TrainingSection, max_steps: int | None) -> int:
    """Return after how many steps to validate: as set, or ten times a run, at least every 1,000 steps."""
    if training.validate_every_steps is not None:
        return training.validate_every_steps
    return 500 if max_steps is None else min(1000, math.ceil(max_steps / 10))


def is_saving_step(step: int, training: TrainingSection, max_steps: int | None) -> bool:
    """Return whether to write a checkpoint after a step: as set, or with each validation and close to the end.

    Where the last ones make the model, as many as are averaged lie within the last interval: the weights of half a run
    ago do not make a model better.
    """
    if training.save_every_steps is not None:
        return step % training.save_every_steps == 0
    interval = validation_interval(training, max_steps)
    if max_steps is None or averaging(training, max_steps) != "last" or step <= max_steps - interval:
        return step % interval == 0
    return step % interval == 0 or (max_steps - step) % max(1, interval // training.average_count) == 0


def averaging(training: TrainingSection, max_steps: int | None) -> Averaging:
    """Return which checkpoints make the final model: as set, or what suits the end of the run.

    Early stopping ends a run some validations behind its best one.
    """
    if training.average is not None:
        return training.average
    if training.ema_decay is not None:
        return "off"
    return "last" if has_known_end(training, max_steps) else "best"


def _share_done(step: int, warmup: int, max_steps: int | None) -> float:
    assert max_steps is not None, "linear and cosine need the number of steps"
    return min(1.0, (step - warmup) / (max_steps + 1 - warmup))
