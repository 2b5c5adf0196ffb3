"""The training loop: one class, read from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mtkit.checkpoint.checkpoint import load_checkpoint, rotate_checkpoints, save_checkpoint
from mtkit.checkpoint.run_folder import CheckpointState, RunFolder, Tally
from mtkit.config.training import TrainingSection
from mtkit.corpus.batching import Batch, Rows, SpecialIds, collate, plan_batches, split_batch
from mtkit.corpus.store import CorpusSplit
from mtkit.errors import TrainingError
from mtkit.model.transformer import Transformer
from mtkit.runtime.seeds import derive_seed
from mtkit.training.interrupts import StopRequest
from mtkit.training.log import TrainingLog
from mtkit.training.loss import smoothed_cross_entropy
from mtkit.training.optimizer import build_optimizer
from mtkit.training.schedule import learning_rate_at, saving_interval, validation_interval
from mtkit.training.validation import Validator, forward_tokens

_MAX_SKIPPED_IN_A_ROW = 10


@dataclass
class _Tally:
    """What was done since the last line of metrics, and since when; the sums are kept in checkpoints."""

    loss: float = 0.0
    nll: float = 0.0
    num_tokens: int = 0
    padded_tokens: int = 0
    grad_norm: float = 0.0
    num_steps: int = 0
    timed_tokens: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def tokens_per_second(self) -> float:
        return self.timed_tokens / max(1e-9, time.perf_counter() - self.started)

    def add(self, update: _Tally) -> None:
        """Count one more update."""
        for name in (*Tally.model_fields, "timed_tokens"):
            setattr(self, name, getattr(self, name) + getattr(update, name))

    def to_section(self) -> Tally:
        return Tally(**{name: getattr(self, name) for name in Tally.model_fields})


class Trainer:
    """Trains a model on a prepared corpus, from where its run stands to the end.

    The state of a run is weights, optimizer and step. All randomness is derived: the data order from (seed, epoch),
    dropout from (seed, step, micro-batch). So what follows a checkpoint does not depend on how it was reached.
    """

    def __init__(
        self,
        *,
        run: RunFolder,
        model: Transformer,
        split: CorpusSplit,
        validator: Validator | None,
        training: TrainingSection,
        max_steps: int | None,
        precision: str,
        device: torch.device,
    ) -> None:
        self.run = run
        self.model = model.to(device)
        self.split = split
        self.validator = validator
        self.training = training
        self.max_steps = max_steps
        self.precision = precision
        self.device = device
        self.optimizer = build_optimizer(model, training)
        config = model.config
        self.special = SpecialIds(config.pad_id, config.eos_id, config.decoder_start_id)
        self.source_lengths, self.target_lengths = split.source_lengths, split.target_lengths
        self.longest: NDArray[np.int64] = np.maximum(self.source_lengths, self.target_lengths).astype(np.int64) + 1
        self.state = CheckpointState(step=0, epoch=0, batch_index=0)
        self.skipped_in_a_row = 0
        self.last_train_loss = self.last_rate = float("nan")

    def train(self) -> int | None:
        """Train to the end.

        Returns:
            None, or the exit code of the signal that asked to stop; the run is saved either way.

        Raises:
            TrainingError: Loss or gradient were not finite several times in a row.
            OutputError: A checkpoint cannot be written.
        """
        restored = load_checkpoint(self.run, self.model, self.optimizer)
        self.state = restored or self.state
        log = TrainingLog(self.run, self.state.step)
        try:
            if restored is not None:
                log.say(f"resuming at step {self.state.step:,}")
            with StopRequest() as stop:
                return self._loop(log, stop)
        finally:
            log.close()

    def _loop(self, log: TrainingLog, stop: StopRequest) -> int | None:
        training = self.training
        validate_every = validation_interval(training, self.max_steps)
        save_every = saving_interval(training, self.max_steps)
        tally = _Tally(**self.state.tally.model_dump())
        best_steps = self._validations_since_best()
        started, first_step = time.perf_counter(), self.state.step
        for step, epoch, index, rows in self._iter_updates():
            self.update(step, rows, tally)
            self.state = self.state.model_copy(
                update={"step": step, "epoch": epoch, "batch_index": index + 1, "validation": None}
            )
            rate = learning_rate_at(step, training, self.max_steps)
            if step % training.log_every_steps == 0 and tally.num_steps:
                tally = self._log_training(log, tally, epoch, rate)
            is_last = step == self.max_steps
            if step % validate_every == 0 or is_last:
                paused = time.perf_counter()
                self._validate(log, epoch, tally)
                tally.started += time.perf_counter() - paused
                best_steps = self._validations_since_best()
            is_validated = self.state.validation is not None  # it may be among the best
            if step % save_every == 0 or is_last or is_validated or stop.exit_code is not None:
                paused = time.perf_counter()
                self._save(tally)
                tally.started += time.perf_counter() - paused
            if stop.exit_code is not None:
                return stop.exit_code
            if training.patience is not None and best_steps >= training.patience:
                log.say(f"stopping early: {best_steps} validations without a better {training.best_metric}")
                break
            per_step = (time.perf_counter() - started) / (step - first_step)
            self._show_status(log, epoch, tally, rate, per_step)
        if self.run.list_checkpoints()[-1:] != [self.run.checkpoint(self.state.step)]:
            self._save(tally)
        return None

    def _iter_updates(self) -> Iterator[tuple[int, int, int, Rows]]:
        """Yield (step, epoch, index in the epoch, rows of the batch) from where the run stands."""
        step, epoch, first = self.state.step, self.state.epoch, self.state.batch_index
        while self.training.max_epochs is None or epoch < self.training.max_epochs:
            batches = self._plan(epoch)
            for index in range(first, len(batches)):
                if self.max_steps is not None and step >= self.max_steps:
                    return
                step += 1
                yield step, epoch, index, batches[index]
            epoch, first = epoch + 1, 0

    def _plan(self, epoch: int) -> list[Rows]:
        return plan_batches(
            self.source_lengths, self.target_lengths, self.training.batch_tokens, self.training.seed, epoch
        )

    def update(self, step: int, rows: Rows, tally: _Tally) -> None:
        """Make one update from the pairs in `rows`, or skip it where the gradient is not finite."""
        done = _Tally(num_steps=1)
        self.compute_gradients(step, rows, done)
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.training.clip_norm or float("inf"), error_if_nonfinite=False
        )
        if not torch.isfinite(norm):
            self._skip(step)
            return
        self.skipped_in_a_row = 0
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.training, self.max_steps)
        self.optimizer.step()
        done.grad_norm = float(norm)
        tally.add(done)  # only now: the sums of a skipped update are not finite

    def compute_gradients(self, step: int, rows: Rows, tally: _Tally) -> None:
        """Set the gradients of one update: of the loss a target token, over all micro-batches.

        Every micro-batch is divided by the target tokens of the whole update, so the sum does not depend on how the
        update was split.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total_tokens = int(self.target_lengths[rows].sum()) + len(rows)
        pieces = split_batch(rows, self.longest[rows], self.training.micro_batch_tokens)
        for micro, piece in enumerate(pieces):
            batch = collate(self.split, piece, self.special)
            torch.manual_seed(derive_seed(self.training.seed, "dropout", step, micro))
            loss, nll = self._losses(batch)
            (loss / total_tokens).backward()  # type: ignore[no-untyped-call]
            tally.loss += float(loss.detach())
            tally.nll += float(nll)
            tally.padded_tokens += batch.tgt_out_ids.numel()
        tally.num_tokens += total_tokens
        tally.timed_tokens += total_tokens

    def _losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits, targets = forward_tokens(
                self.model,
                batch.src_ids.to(self.device, non_blocking=True),
                batch.tgt_in_ids.to(self.device, non_blocking=True),
                batch.tgt_out_ids.to(self.device, non_blocking=True),
            )
        return smoothed_cross_entropy(logits, targets, self.training.label_smoothing)

    def _skip(self, step: int) -> None:
        """Leave out an update whose gradient is not finite; stop when that happens again and again."""
        self.skipped_in_a_row += 1
        self.state = self.state.model_copy(update={"skipped_updates": self.state.skipped_updates + 1})
        if self.skipped_in_a_row >= _MAX_SKIPPED_IN_A_ROW:
            checkpoints = self.run.list_checkpoints()
            last = f"the last good checkpoint is {checkpoints[-1].name}" if checkpoints else "there is no checkpoint"
            raise TrainingError(
                f"the gradient was not finite in {self.skipped_in_a_row} updates in a row, up to step {step}; {last}",
                at=self.run.path,
                fix="lower training.learning_rate, raise training.warmup_steps, or use training.precision=fp32",
            )

    def _validate(self, log: TrainingLog, epoch: int, tally: _Tally) -> None:
        if self.validator is None:
            return
        started = time.perf_counter()
        result = self.validator.validate(self.model, self.state.step)
        self.state = self.state.model_copy(update={"validation": result.scores})
        values = result.scores.model_dump(exclude={"step"})
        elapsed = time.perf_counter() - started
        log.record("validation", self.state.step, {**values, "elapsed_seconds": elapsed, "samples": result.samples})
        log.show_validation(epoch, *self._loss_and_rate(tally), result.scores, result.samples)

    def _validations_since_best(self) -> int:
        """Return how many validations came after the best one, by the records of the run."""
        metric = self.training.best_metric
        sign = -1 if metric == "loss" else 1
        values = [sign * r[metric] for r in self.run.read_metrics() if r["kind"] == "validation"]
        return len(values) - 1 - int(np.argmax(values)) if values else 0

    def _save(self, tally: _Tally) -> None:
        state = self.state.model_copy(update={"tally": tally.to_section()})
        save_checkpoint(self.run, self.model, self.optimizer, state)
        keep = self.training.keep_checkpoints
        if self.training.average != "off":
            keep = max(keep, self.training.average_count)
        rotate_checkpoints(self.run, keep, self.training.best_metric)

    def _log_training(self, log: TrainingLog, tally: _Tally, epoch: int, learning_rate: float) -> _Tally:
        self.last_train_loss, self.last_rate = self._loss_and_rate(tally)
        values = {
            "epoch": epoch,
            "loss": self.last_train_loss,
            "nll": tally.nll / tally.num_tokens,
            "grad_norm": tally.grad_norm / tally.num_steps,
            "learning_rate": learning_rate,
            "padding_share": 1 - tally.num_tokens / tally.padded_tokens,
            "skipped_updates": self.state.skipped_updates,
            "tokens_per_second": self.last_rate,
        }
        log.record("train", self.state.step, values)
        log.show_training(self.state.step, epoch, self.last_train_loss, self.last_rate, learning_rate)
        return _Tally()

    def _show_status(self, log: TrainingLog, epoch: int, tally: _Tally, rate: float, per_step: float) -> None:
        left = ""
        if self.max_steps is not None:
            seconds = int((self.max_steps - self.state.step) * per_step)
            left = f"  {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"
        total = f"/{self.max_steps:,}" if self.max_steps is not None else ""
        loss, speed = self._loss_and_rate(tally)
        log.status(
            f"step {self.state.step:,}{total}  epoch {epoch}  loss {loss:.3f}  {speed:,.0f} tok/s  lr {rate:.2e}{left}"
        )

    def _loss_and_rate(self, tally: _Tally) -> tuple[float, float]:
        """Return the loss a token and the tokens a second since the last line of metrics, or of that line."""
        if not tally.num_tokens:
            return self.last_train_loss, self.last_rate
        return tally.loss / tally.num_tokens, tally.tokens_per_second


def measure_seconds_per_step(trainer: Trainer, num_updates: int = 8) -> float:
    """Return how long an update takes, measured on a few of the first epoch; weights and optimizer stay as they are.

    Two updates warm up and are not counted. The time is scaled to the mean batch by padded tokens.
    """
    batches = trainer._plan(0)

    def padded(rows: Rows) -> int:
        return len(rows) * int(trainer.longest[rows].max())

    sample = [batches[i] for i in np.linspace(0, len(batches) - 1, num_updates).astype(int)]
    for rows in sample[:2]:
        trainer.compute_gradients(0, rows, _Tally())
    started = time.perf_counter()
    for rows in sample:
        trainer.compute_gradients(0, rows, _Tally())
    per_token = (time.perf_counter() - started) / sum(map(padded, sample))
    trainer.optimizer.zero_grad(set_to_none=True)
    return per_token * float(np.mean([padded(rows) for rows in batches]))
