"""What an update gave: counted, watched for spikes, and for losses and gradients that are not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mtkit.checkpoint.run_folder import DIVERGED_NAME, CheckpointState, RunFolder, Tally
from mtkit.corpus.batching import Rows
from mtkit.corpus.store import CorpusSplit
from mtkit.errors import TrainingError, writing
from mtkit.runtime.distributed import Processes
from mtkit.training.log import TrainingLog
from mtkit.training.updates import Update

_MAX_SKIPPED_IN_A_ROW = 10


@dataclass(frozen=True)
class MadeUpdate:
    """An update whose results nobody has waited for yet.

    Attributes:
        update: What it was made of.
        num_tokens: Target tokens of all processes.
        results: `(3,)`: training loss and plain loss, both summed over this process's target tokens, and the norm of
            the gradient; of a GPU, on their way to main memory.
        arrival: When they are there; None where they are.
    """

    update: Update
    num_tokens: float
    results: Tensor
    arrival: torch.cuda.Event | None

    @classmethod
    def of(cls, update: Update, num_tokens: float, loss: Tensor, nll: Tensor, norm: Tensor) -> MadeUpdate:
        """Begin to fetch the results, so that they need not wait for what the device is given next."""
        results = torch.stack([loss, nll, norm.to(loss.dtype)])
        if results.device.type != "cuda":
            return cls(update, num_tokens, results, None)
        copy = torch.empty_like(results, device="cpu", pin_memory=True).copy_(results, non_blocking=True)
        arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrival.record()
        return cls(update, num_tokens, copy, arrival)

    def wait(self) -> list[float]:
        """Return the results as soon as they are there."""
        if self.arrival is not None:
            self.arrival.synchronize()
        return self.results.tolist()


class ResultChecker:
    """Looks at the results of updates.

    Args:
        run: Where the sentences of an update are written on which training diverged.
        split: Where these sentences are.
        processes: That train together.
    """

    def __init__(self, run: RunFolder, split: CorpusSplit, processes: Processes) -> None:
        self._run = run
        self._split = split
        self._processes = processes

    def check(self, made: MadeUpdate, state: CheckpointState, log: TrainingLog) -> CheckpointState:
        """Return the state with the results of an update in it; waits for the device.

        Raises:
            TrainingError: Its loss or gradient was not finite, as in the updates before.
        """
        own_loss, own_nll, norm = made.wait()
        loss, nll, padded_tokens = self._processes.sum([own_loss, own_nll, float(made.update.padded_tokens)])
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return self._skip(made.update, state, log)
        per_token = loss / made.num_tokens
        is_spike = state.watch.is_spike(per_token)
        if is_spike:
            usual = state.watch.mean
            log.say(f"step {made.update.step:,}: the loss is {per_token:.3f}, where {usual:.3f} is usual")
            log.record("spike", made.update.step, {"loss": per_token, "usual": usual})
        tally = Tally(
            loss=loss,
            nll=nll,
            num_tokens=int(made.num_tokens),
            padded_tokens=int(padded_tokens),
            grad_norm=norm,
            num_steps=1,
        )
        return state.model_copy(
            update={
                "skipped_in_a_row": 0,
                "loss_spikes": state.loss_spikes + is_spike,
                "tally": state.tally.add(tally),
                "watch": state.watch.add(per_token),
            }
        )

    def _skip(self, update: Update, state: CheckpointState, log: TrainingLog) -> CheckpointState:
        """Count an update whose loss or gradient was not finite; stop when that happens again and again."""
        in_a_row = state.skipped_in_a_row + 1
        log.say(f"step {update.step:,}: skipped, its loss or gradient is not finite ({in_a_row} in a row)")
        log.record("skipped", update.step, {"in_a_row": in_a_row})
        if in_a_row < _MAX_SKIPPED_IN_A_ROW:
            return state.model_copy(update={"skipped_updates": state.skipped_updates + 1, "skipped_in_a_row": in_a_row})
        checkpoints = self._run.list_checkpoints()
        last = f"the last good checkpoint is {checkpoints[-1].name}" if checkpoints else "there is no checkpoint"
        path = self._run.path / DIVERGED_NAME
        if self._processes.is_main:
            self._write_sentences(update.rows, path)
        raise TrainingError(
            f"loss or gradient were not finite in {in_a_row} updates in a row, up to step {update.step}; "
            f"{last}; the sentences of step {update.step} are in {DIVERGED_NAME}",
            at=path,
            fix="lower training.learning_rate, raise training.warmup_steps, or use training.precision=fp32",
        )

    def _write_sentences(self, rows: Rows, path: Path) -> None:
        """Write pairs as lines of row number, source and target, parted by tabs."""
        pairs = ((row, self._split[row]) for row in rows.tolist())
        with writing(path):
            lines = [f"{row}\t{pair.source}\t{pair.target}\n" for row, pair in pairs]
            path.write_text("".join(lines), encoding="utf-8")
