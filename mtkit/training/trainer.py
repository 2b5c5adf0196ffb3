"""The training loop: one class, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mtkit.checkpoint.checkpoint import CheckpointWriter, find_last_checkpoint, read_snapshot
from mtkit.checkpoint.model_folder import WEIGHTS_NAME
from mtkit.checkpoint.run_folder import CheckpointState, MicroBatch, RunFolder, Tally
from mtkit.checkpoint.weights import check_weights
from mtkit.config.training import TrainingSection
from mtkit.corpus.batching import Rows
from mtkit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, DeviceError, TrainingError, writing
from mtkit.runtime import console
from mtkit.runtime.distributed import Processes
from mtkit.runtime.memory import is_out_of_memory
from mtkit.runtime.seeds import derive_seed
from mtkit.training.interrupts import StopRequest
from mtkit.training.log import TrainingLog
from mtkit.training.micro_batch import no_pair_fits
from mtkit.training.parallel import TrainedModel
from mtkit.training.schedule import learning_rate_at, saving_interval, validation_interval
from mtkit.training.updates import Update, UpdateReader
from mtkit.training.validation import Validator

_MAX_SKIPPED_IN_A_ROW = 10
_DIVERGED_NAME = "diverged.txt"


@dataclass
class _Clock:
    """Where the time since the last line of metrics went: seconds, and target tokens of all processes."""

    started: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    validated: float = 0.0
    saved: float = 0.0
    tokens: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        seconds = time.perf_counter() - self.started - self.validated - self.saved
        return self.tokens / max(1e-9, seconds)


@dataclass(frozen=True)
class _Made:
    """An update whose results nobody has waited for yet: sums of this process, and the norm."""

    update: Update
    num_tokens: float
    loss: Tensor
    nll: Tensor
    norm: Tensor


class Trainer:
    """Trains a model on a prepared corpus, from where its run stands to the end.

    The state of a run is weights, optimizer and step. All randomness is derived: the data order from (seed, epoch),
    subwords from (seed, step), dropout from (seed, step, process, micro-batch). So what follows a checkpoint does not
    depend on how it was reached.

    Results of an update are looked at while the next one is computed, so that no device ever waits for that.
    """

    def __init__(
        self,
        *,
        run: RunFolder,
        trained: TrainedModel,
        reader: UpdateReader,
        validator: Validator | None,
        training: TrainingSection,
        max_steps: int | None,
        processes: Processes,
    ) -> None:
        self.run = run
        self.trained = trained
        self.reader = reader
        self.validator = validator
        self.training = training
        self.max_steps = max_steps
        self.processes = processes
        self.state = CheckpointState()
        self.clock = _Clock()
        self.last_train_loss = self.last_rate = float("nan")
        self._made: _Made | None = None

    def train(self) -> int | None:
        """Train to the end.

        Returns:
            None, or the exit code of the signal that asked to stop; the run is saved either way.

        Raises:
            TrainingError: Loss or gradient were not finite several times in a row.
            OutputError: A checkpoint cannot be written.
            DeviceError: Not even one pair fits into memory, or another process is gone.
        """
        is_resumed = self._restore()
        keep = self.training.keep_checkpoints
        if self.training.average != "off":
            keep = max(keep, self.training.average_count)
        log = TrainingLog(self.run, self.state.step, is_silent=not self.processes.is_main)
        writer = CheckpointWriter(self.run, keep, self.training.best_metric)
        try:
            if is_resumed:
                log.say(f"resuming at step {self.state.step:,}")
            places = (self.state.step, self.state.epoch, self.state.batch_index)
            with StopRequest() as stop, closing(self.reader.read(*places, self.max_steps)) as updates:
                exit_code = self._loop(updates, log, writer, stop)
            writer.wait()
            self.processes.wait()  # nobody reads the checkpoints before they are all there
            return exit_code
        finally:
            writer.close()
            log.close()

    def _restore(self) -> bool:
        """Go to the last checkpoint that is whole; return whether there is one."""
        found = self.processes.share(find_last_checkpoint(self.run) if self.processes.is_main else None)
        if found is None:
            return False
        snapshot = read_snapshot(found)
        check_weights(self.trained.model, snapshot.weights, found / WEIGHTS_NAME)
        self.trained.restore(snapshot)
        self.state = self.run.read_state(found)
        return True

    def _loop(
        self, updates: Iterator[Update], log: TrainingLog, writer: CheckpointWriter, stop: StopRequest
    ) -> int | None:
        training = self.training
        validate_every = validation_interval(training, self.max_steps)
        save_every = saving_interval(training, self.max_steps)
        best_steps = self._validations_since_best()
        is_saved = self.state.step > 0
        self.clock = _Clock()
        started, first_step = time.perf_counter(), self.state.step
        while not self._is_stopped_early(log, best_steps):
            paused = time.perf_counter()
            update = next(updates, None)
            self.clock.waited += time.perf_counter() - paused
            if update is None:
                break
            wants_stop, wants_save = self.make_update(update, log, stop.exit_code, stop.take_save())
            step = update.step
            self.state = self.state.model_copy(
                update={"step": step, "epoch": update.epoch, "batch_index": update.index + 1, "validation": None}
            )
            is_last = step == self.max_steps
            is_validated = self.validator is not None and (step % validate_every == 0 or is_last)
            is_saved = step % save_every == 0 or is_last or is_validated or bool(wants_stop) or wants_save
            is_logged = step % training.log_every_steps == 0
            if is_logged or is_saved:
                self._settle(log)
            if is_logged and self.state.tally.num_steps:
                self._log_training(log)
            if is_validated:
                self._validate(log)
                best_steps = self._validations_since_best()
            if is_saved:
                self._save(writer)
            if wants_stop:
                return wants_stop
            writer.check()
            per_step = (time.perf_counter() - started) / (step - first_step)
            self._show_status(log, per_step)
        if not is_saved:
            self._settle(log)
            self._save(writer)
        return None

    def _is_stopped_early(self, log: TrainingLog, best_steps: int) -> bool:
        patience = self.training.patience
        if patience is None or best_steps < patience:
            return False
        log.say(f"stopping early: {best_steps} validations without a better {self.training.best_metric}")
        return True

    def make_update(
        self, update: Update, log: TrainingLog, stop_code: int | None = None, wants_save: bool = False
    ) -> tuple[int | None, bool]:
        """Make one update; one whose gradient is not finite changes nothing.

        Args:
            update: What it is made of.
            log: Where the results of the update before are told.
            stop_code: The exit code of a signal to this process.
            wants_save: Whether this process was asked to save.

        Returns:
            The exit code of a signal to any process, and whether any was asked to save: all decide alike.
        """
        flags = [stop_code == EXIT_INTERRUPTED, stop_code == EXIT_TERMINATED, wants_save]
        wait = self.processes.start_sum([update.num_tokens, *map(float, flags)])
        loss, nll = self.compute_gradients(update)
        num_tokens, interrupts, terminations, saves = wait()
        self._settle(log)  # the update before this one: by now the device is through with it
        rate = learning_rate_at(update.step, self.training, self.max_steps)
        norm = self.trained.step(rate, num_tokens, update.step)
        self._made = _Made(update, num_tokens, loss, nll, norm)
        self.clock.tokens += num_tokens
        code = EXIT_INTERRUPTED if interrupts else EXIT_TERMINATED if terminations else None
        return code, bool(saves)

    def compute_gradients(self, update: Update) -> tuple[Tensor, Tensor]:
        """Set the gradients of one update: of the loss summed over its target tokens, of all processes.

        Where memory runs out, the micro-batches are halved, from this update on.

        Returns:
            Training loss and plain loss, summed over this process's target tokens.
        """
        while True:
            if update.micro_batch_tokens != self.reader.record.micro_batch_tokens(update.step):
                update = self.reader.build(
                    update.step, update.epoch, update.index, update.rows
                )  # read before a halving
            try:
                return self._compute_gradients(update)
            except RuntimeError as exc:
                if not is_out_of_memory(exc):
                    raise
                reason = str(exc).strip().splitlines()[0]
            self._halve_micro_batches(update, reason)

    def _compute_gradients(self, update: Update) -> tuple[Tensor, Tensor]:
        self.trained.model.train()
        self.trained.zero_grad()
        losses, nlls = [], []
        for micro, (batch, weight) in enumerate(zip(update.batches, update.counts, strict=True)):
            seed = derive_seed(self.training.seed, "dropout", update.step, self.processes.rank, micro)
            torch.manual_seed(seed)
            loss, nll = self.trained.backward(batch, is_last=micro + 1 == len(update.batches), weight=weight)
            losses.append(loss)
            nlls.append(nll)
        return torch.stack(losses).sum(), torch.stack(nlls).sum()

    def _halve_micro_batches(self, update: Update, reason: str) -> None:
        """Note in the run that micro-batches are half as large from this update on."""
        self.trained.zero_grad()
        if self.trained.device.type == "cuda":
            torch.cuda.empty_cache()
        if all(len(batch.rows) == 1 for batch in update.batches):
            raise no_pair_fits(f"one pair alone does not fit into memory at step {update.step:,}: {reason}")
        largest = max(len(batch.rows) * int(self.reader.longest[batch.rows].max()) for batch in update.batches)
        tokens = max(16, min(update.micro_batch_tokens, largest) // 2)
        entry = MicroBatch(from_step=update.step, tokens=tokens, reason=reason)
        record = self.reader.record
        kept = [old for old in record.micro_batches if old.from_step < update.step]
        self.reader.record = record.model_copy(update={"micro_batches": [*kept, entry]})
        if self.run.is_run:  # else it is written with the run
            self.run.write_record(self.reader.record)
        message = f"out of memory at step {update.step:,}; micro-batches have {tokens:,} tokens from here on"
        if self.processes.count > 1:  # the others are in the middle of adding up gradients
            fix = "the same command goes on from the last checkpoint, torchrun --max-restarts by itself"
            raise DeviceError(message, at=f"process {self.processes.rank}", fix=fix)
        console.warn(message)

    def _settle(self, log: TrainingLog) -> None:
        """Look at the results of the last update."""
        made, self._made = self._made, None
        if made is None:
            return
        sums = [float(made.loss), float(made.nll), float(made.update.padded_tokens)]
        loss, nll, padded_tokens = self.processes.sum(sums)
        norm = float(made.norm)
        if not math.isfinite(norm):
            self._skip(log, made.update)
            return
        per_token = loss / made.num_tokens
        is_spike = self.state.watch.is_spike(per_token)
        if is_spike:
            usual = self.state.watch.mean
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
        self.state = self.state.model_copy(
            update={
                "skipped_in_a_row": 0,
                "loss_spikes": self.state.loss_spikes + is_spike,
                "tally": self.state.tally.add(tally),
                "watch": self.state.watch.add(per_token),
            }
        )

    def _skip(self, log: TrainingLog, update: Update) -> None:
        """Count an update whose gradient was not finite; stop when that happens again and again."""
        in_a_row = self.state.skipped_in_a_row + 1
        self.state = self.state.model_copy(
            update={"skipped_updates": self.state.skipped_updates + 1, "skipped_in_a_row": in_a_row}
        )
        log.say(f"step {update.step:,}: skipped, its gradient is not finite ({in_a_row} in a row)")
        log.record("skipped", update.step, {"in_a_row": in_a_row})
        if in_a_row < _MAX_SKIPPED_IN_A_ROW:
            return
        checkpoints = self.run.list_checkpoints()
        last = f"the last good checkpoint is {checkpoints[-1].name}" if checkpoints else "there is no checkpoint"
        path = self.run.path / _DIVERGED_NAME
        if self.processes.is_main:
            self._write_sentences(update.rows, path)
        raise TrainingError(
            f"the gradient was not finite in {in_a_row} updates in a row, up to step {update.step}; "
            f"{last}; the sentences of step {update.step} are in {_DIVERGED_NAME}",
            at=path,
            fix="lower training.learning_rate, raise training.warmup_steps, or use training.precision=fp32",
        )

    def _write_sentences(self, rows: Rows, path: Path) -> None:
        """Write pairs as lines of row number, source and target, parted by tabs."""
        pairs = ((row, self.reader.split[row]) for row in rows.tolist())
        with writing(path):
            lines = [f"{row}\t{pair.source}\t{pair.target}\n" for row, pair in pairs]
            path.write_text("".join(lines), encoding="utf-8")

    def _validate(self, log: TrainingLog) -> None:
        if self.validator is None:
            return
        started = time.perf_counter()
        result = self.validator.validate(self.trained.model, self.state.step, self.trained.evaluated_weights())
        self.state = self.state.model_copy(update={"validation": result.scores})
        elapsed = time.perf_counter() - started
        self.clock.validated += elapsed
        values = result.scores.model_dump(exclude={"step"})
        log.record("validation", self.state.step, {**values, "elapsed_seconds": elapsed, "samples": result.samples})
        log.show_validation(self.state.epoch, *self._loss_and_rate(), result.scores, result.samples)
        self.clock.validated += time.perf_counter() - started - elapsed  # writing the report is a part of it

    def _validations_since_best(self) -> int:
        """Return how many validations came after the best one, by the records of the run."""
        metric = self.training.best_metric
        sign = -1 if metric == "loss" else 1
        values = []
        if self.processes.is_main:
            values = [sign * r[metric] for r in self.run.read_metrics() if r["kind"] == "validation"]
        return self.processes.share(len(values) - 1 - int(np.argmax(values)) if values else 0)

    def _save(self, writer: CheckpointWriter) -> None:
        started = time.perf_counter()
        if self.processes.is_main:
            writer.write(self.trained.take_snapshot, self.state)
        else:
            self.trained.take_snapshot()
        self.clock.saved += time.perf_counter() - started

    def _log_training(self, log: TrainingLog) -> None:
        """Write a line of metrics, and begin the next."""
        tally, clock = self.state.tally, self.clock
        self.last_train_loss, self.last_rate = self._loss_and_rate()
        rate = learning_rate_at(self.state.step, self.training, self.max_steps)
        values = {
            "epoch": self.state.epoch,
            "loss": self.last_train_loss,
            "nll": tally.nll / tally.num_tokens,
            "grad_norm": tally.grad_norm / tally.num_steps,
            "learning_rate": rate,
            "padding_share": 1 - tally.num_tokens / tally.padded_tokens,
            "skipped_updates": self.state.skipped_updates,
            "loss_spikes": self.state.loss_spikes,
            "tokens_per_second": self.last_rate,
            "data_wait_seconds": clock.waited,
            "validation_seconds": clock.validated,
            "saving_seconds": clock.saved,
            "elapsed_seconds": time.perf_counter() - clock.started,
        }
        log.record("train", self.state.step, values)
        log.show_training(self.state.step, self.state.epoch, self.last_train_loss, self.last_rate, rate)
        self.state = self.state.model_copy(update={"tally": Tally()})
        self.clock = _Clock()

    def _show_status(self, log: TrainingLog, per_step: float) -> None:
        left = ""
        if self.max_steps is not None:
            seconds = int((self.max_steps - self.state.step) * per_step)
            left = f"  {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"
        total = f"/{self.max_steps:,}" if self.max_steps is not None else ""
        loss, speed = self._loss_and_rate()
        rate = learning_rate_at(self.state.step, self.training, self.max_steps)
        log.status(
            f"step {self.state.step:,}{total}  epoch {self.state.epoch}  loss {loss:.3f}  {speed:,.0f} tok/s  "
            f"lr {rate:.2e}{left}"
        )

    def _loss_and_rate(self) -> tuple[float, float]:
        """Return the loss a token and the tokens a second since the last line of metrics, or of that line."""
        tally = self.state.tally
        if not tally.num_tokens:
            return self.last_train_loss, self.last_rate
        return tally.loss / tally.num_tokens, self.clock.tokens_per_second


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
