"""What a recipe leaves to the machine: the size of micro-batches, and how many steps a time is."""

from __future__ import annotations

import time

import numpy as np

from mtkit.checkpoint.run_folder import MicroBatch, RunRecord
from mtkit.corpus.batching import Rows
from mtkit.runtime import console
from mtkit.training.micro_batch import fit_micro_batch
from mtkit.training.resuming import end_is_past
from mtkit.training.trainer import Trainer

# Of the minutes given, the share that is spent on updates; the rest is for validation, checkpoints and averaging.
_SHARE_FOR_UPDATES = 0.9


def choose(trainer: Trainer) -> RunRecord:
    """Choose what the recipe leaves to the machine, unless that was done; return the run's record with it.

    All processes call this, and choose alike.

    Raises:
        DeviceError: Not even one pair fits into memory.
        RecipeError: The time that the run is to take lies behind it already.
    """
    reader, training, processes = trainer.reader, trainer.training, trainer.processes
    record = reader.record
    if not record.micro_batches:
        if training.micro_batch_tokens == "auto":
            tokens, reason = fit_micro_batch(trainer.trained, reader)
            tokens = min(processes.gather(tokens))
        else:
            tokens, reason = training.micro_batch_tokens, "as the recipe says"
        if tokens < training.batch_tokens:
            console.say(f"micro-batches of {tokens:,} tokens: {reason}")
        entry = MicroBatch(from_step=1, tokens=tokens, reason=reason)
        reader.record = record = record.model_copy(update={"micro_batches": [entry]})
    if record.max_steps is None and training.max_minutes is not None:
        seconds = max(processes.gather(measure_seconds_per_step(trainer)))
        steps = max(1, int(training.max_minutes * 60 * _SHARE_FOR_UPDATES / seconds))
        made = record.extensions[-1].from_step if record.extensions else 0
        if steps <= made:
            reason = f"{training.max_minutes:g} minutes, from its beginning, are {steps:,} here"
            raise end_is_past(made, reason, "training.max_minutes")
        trainer.max_steps = min(steps, training.max_steps or steps)
        fewer = f"; training.max_steps asks for {trainer.max_steps:,}" if trainer.max_steps < steps else ""
        console.say(
            f"{training.max_minutes:g} minutes are {steps:,} steps here, at {seconds:.2f} seconds a step{fewer}"
        )
        reader.record = reader.record.model_copy(update={"max_steps": trainer.max_steps})
    return reader.record


def measure_seconds_per_step(trainer: Trainer, num_updates: int = 8) -> float:
    """Return how long an update takes, measured on a few of the first epoch; weights and optimizer stay as they are.

    Two updates warm up and are not counted. The time is scaled to the mean batch by padded tokens.
    """
    reader = trainer.reader
    batches = reader.plan(0)

    def padded(rows: Rows) -> int:
        return len(rows) * int(reader.longest[rows].max())

    sample = [batches[i] for i in np.linspace(0, len(batches) - 1, num_updates).astype(int)]
    for rows in sample[:2]:
        trainer.compute_gradients(reader.build(1, 0, 0, rows))
    started = time.perf_counter()
    for rows in sample:
        loss, _ = trainer.compute_gradients(reader.build(1, 0, 0, rows))
        float(loss)  # waits for the device
    per_token = (time.perf_counter() - started) / sum(map(padded, sample))
    trainer.trained.zero_grad()
    return per_token * float(np.mean([padded(rows) for rows in batches]))
