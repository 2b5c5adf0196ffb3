"""The training loop: one class, read from top to bottom."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import torch
from torch import Tensor

from mtkit.checkpoint.checkpoint import CheckpointWriter, find_last_checkpoint, read_snapshot, rotate_checkpoints
from mtkit.checkpoint.model_folder import WEIGHTS_NAME
from mtkit.checkpoint.run_folder import CheckpointState, MicroBatch, RunFolder, Tally, find_best, list_validations
from mtkit.checkpoint.weights import check_weights
from mtkit.config.training import TrainingSection
from mtkit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, DeviceError, OutputError, first_line
from mtkit.runtime.distributed import Processes
from mtkit.runtime.locks import stands_at
from mtkit.runtime.memory import is_out_of_memory
from mtkit.runtime.seeds import derive_seed
from mtkit.training.interrupts import StopRequest
from mtkit.training.log import TrainingLog
from mtkit.training.micro_batch import no_pair_fits
from mtkit.training.parallel import TrainedModel
from mtkit.training.progress import Progress
from mtkit.training.schedule import averaging, is_saving_step, learning_rate_at, validation_interval
from mtkit.training.update_results import MadeUpdate, ResultChecker
from mtkit.training.updates import Update, UpdateReader
from mtkit.training.validation import ValidationResult, Validator


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
        self._progress = Progress()
        self._place: os.stat_result | None = None  # of the run folder, as training began
        self._checker = ResultChecker(run, reader.split, processes)
        self._made: MadeUpdate | None = None

    def train(self, told: Sequence[str] = ()) -> int | None:
        """Train to the end.

        Args:
            told: What to say first, and to keep in the log.

        Returns:
            None, or the exit code of the signal that asked to stop; the run is saved either way.

        Raises:
            TrainingError: Loss or gradient were not finite several times in a row.
            OutputError: A checkpoint cannot be written.
            DeviceError: Not even one pair fits into memory, memory ran out where nothing can be made smaller, or
                another process is gone.
        """
        if self.processes.is_main:
            self._place = self.run.path.stat()
        is_resumed = self._restore()
        keep = self.training.keep_checkpoints
        if averaging(self.training, self.max_steps) != "off":
            keep = max(keep, self.training.average_count)
        log = TrainingLog(
            self.run,
            self.state.step,
            is_validation_due=self.state.is_validation_due,
            is_silent=not self.processes.is_main,
        )
        writer = CheckpointWriter(self.run, keep, self.training.best_metric)
        try:
            for line in told:
                log.say(line)
            if is_resumed:
                log.say(f"resuming at step {self.state.step:,}")
            if is_resumed and self.processes.is_main:  # a kill may have come between the last save and its rotation
                rotate_checkpoints(self.run, keep, self.training.best_metric)
            places = (self.state.step, self.state.epoch, self.state.batch_index)
            updates = self.reader.read(*places, self.max_steps)
            with StopRequest() as stop, closing(updates), self._telling_where_memory_ran_out():
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

    @contextmanager
    def _telling_where_memory_ran_out(self) -> Iterator[None]:
        """Say after which step memory ran out, where that was not made up for by smaller batches."""
        try:
            yield
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            raise DeviceError(
                f"out of memory after step {self.state.step:,}: {first_line(exc)}",
                at=self.trained.device.type,
                fix="free memory there: the same command goes on from the last checkpoint, also with --set "
                "training.activation_checkpointing=true or a smaller training.micro_batch_tokens",
            ) from exc

    def _loop(
        self, updates: Iterator[Update], log: TrainingLog, writer: CheckpointWriter, stop: StopRequest
    ) -> int | None:
        training = self.training
        validate_every = validation_interval(training, self.max_steps)
        best_steps = self._validations_since_best()
        is_saved = self.state.step > 0
        self._progress.begin_line()
        if self.state.is_validation_due:
            if not self._validate(log, stop):
                return self._agree_to_stop(stop)
            best_steps = self._validations_since_best()
            self._save(writer)
        started, first_step = time.perf_counter(), self.state.step
        while not self._is_stopped_early(log, best_steps):
            paused = time.perf_counter()
            update = next(updates, None)
            self._progress.clock.waited += time.perf_counter() - paused
            if update is None:
                break
            wants_stop, wants_save = self.make_update(update, log, stop.exit_code, stop.take_save())
            step = update.step
            is_last = step == self.max_steps
            is_validated = self.validator is not None and (step % validate_every == 0 or is_last)
            is_planned = is_saving_step(step, training, self.max_steps) or is_last or is_validated
            is_saved = is_planned or bool(wants_stop) or wants_save
            self.state = self.state.model_copy(
                update={
                    "step": step,
                    "epoch": update.epoch,
                    "batch_index": update.index + 1,
                    "validation": None,
                    "is_validation_due": False,
                    "is_extra": is_saved and not is_planned,
                }
            )
            is_logged = step % training.log_every_steps == 0
            if is_logged or is_saved:
                self._settle(log)
            if is_logged and self.state.tally.num_steps:
                self._log_training(log)
            if is_validated and (wants_stop or not self._validate(log, stop)):
                self.state = self.state.model_copy(update={"is_validation_due": True})
                wants_stop = wants_stop or self._agree_to_stop(stop)
            elif is_validated:
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
        return self._agree_to_stop(stop)  # that was asked for during the last update

    def _is_stopped_early(self, log: TrainingLog, best_steps: int) -> bool:
        patience = self.training.patience
        if patience is None or best_steps < patience:
            return False
        log.say(f"stopping early: {best_steps} validations without a better {self.training.best_metric}")
        return True

    def make_update(
        self, update: Update, log: TrainingLog, stop_code: int | None = None, wants_save: bool = False
    ) -> tuple[int | None, bool]:
        """Make one update; one whose loss or gradient is not finite changes nothing.

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
        self._settle(log)  # the update before this one, while the device computes
        self._tell_micro_batches(update.step, log)
        rate = learning_rate_at(update.step, self.training, self.max_steps)
        norm = self.trained.step(rate, num_tokens, update.step)
        self._made = MadeUpdate.of(self._cut_anew(update), num_tokens, loss, nll, norm)
        self._progress.clock.tokens += num_tokens
        code = EXIT_INTERRUPTED if interrupts else EXIT_TERMINATED if terminations else None
        return code, bool(saves)

    def compute_gradients(self, update: Update) -> tuple[Tensor, Tensor]:
        """Set the gradients of one update: of the loss summed over its target tokens, of all processes.

        Where memory runs out, the micro-batches are halved, from this update on.

        Returns:
            Training loss and plain loss, summed over this process's target tokens.
        """
        while True:
            update = self._cut_anew(update)
            try:
                return self._compute_gradients(update)
            except (RuntimeError, MemoryError) as exc:
                if not is_out_of_memory(exc):
                    raise
                reason = first_line(exc)
            self._halve_micro_batches(update, f"out of memory: {reason}")

    def _cut_anew(self, update: Update) -> Update:
        """Return an update in micro-batches as large as they are now: it may have been read before a halving."""
        if update.micro_batch_tokens == self.reader.record.micro_batch_tokens(update.step):
            return update
        return self.reader.build(update.step, update.epoch, update.index, update.rows)

    def _compute_gradients(self, update: Update) -> tuple[Tensor, Tensor]:
        self.trained.model.train()
        self.trained.zero_grad()
        # Every process makes a pass, and with parts of the model in each (FSDP) all make as many.
        wanted = max(self.processes.gather(len(update.batches))) if self.trained.kind == "fsdp" else 1
        passes = [(batch, 1.0) for batch in update.batches]
        passes += [(self.reader.build_idle(update.rows), 0.0) for _ in range(len(passes), wanted)]
        losses, nlls = [], []
        for micro, (batch, weight) in enumerate(passes):
            seed = derive_seed(self.training.seed, "dropout", update.step, self.processes.rank, micro)
            torch.manual_seed(seed)
            loss, nll = self.trained.backward(batch, is_last=micro + 1 == len(passes), weight=weight)
            losses.append(loss)
            nlls.append(nll)
        return torch.stack(losses).sum(), torch.stack(nlls).sum()

    def _halve_micro_batches(self, update: Update, reason: str) -> None:
        """Note in the run that micro-batches are half as large from this update on."""
        self.trained.zero_grad()
        if self.trained.device.type == "cuda":
            torch.cuda.empty_cache()
        if all(len(batch.rows) == 1 for batch in update.batches):
            raise no_pair_fits(f"one pair alone does not fit into memory at step {update.step:,}, {reason}")
        largest = max(len(batch.rows) * int(self.reader.longest[batch.rows].max()) for batch in update.batches)
        tokens = max(16, min(update.micro_batch_tokens, largest) // 2)
        entry = MicroBatch(from_step=update.step, tokens=tokens, reason=reason)
        record = self.reader.record
        kept = [old for old in record.micro_batches if old.from_step <= update.step]
        self.reader.record = record.model_copy(update={"micro_batches": [*kept, entry]})
        if self.run.is_run:  # else it is written with the run
            self.run.write_record(self.reader.record)
        if self.processes.count > 1:  # the others are in the middle of adding up gradients
            raise DeviceError(
                f"out of memory at step {update.step:,}; micro-batches have {tokens:,} tokens from here on",
                at=f"process {self.processes.rank}",
                fix="the same command goes on from the last checkpoint, torchrun --max-restarts by itself",
            )

    def _tell_micro_batches(self, step: int, log: TrainingLog) -> None:
        """Tell of micro-batches that changed with this step, by the record: a run that goes on tells the same."""
        for entry in self.reader.record.micro_batches[1:]:
            if entry.from_step == step:
                log.say(f"step {step:,}: micro-batches of {entry.tokens:,} tokens from here on: {entry.reason}")
                log.record("micro_batches", step, {"tokens": entry.tokens, "reason": entry.reason})

    def _settle(self, log: TrainingLog) -> None:
        """Look at the results of the last update."""
        made, self._made = self._made, None
        if made is not None:
            self.state = self._checker.check(made, self.state, log)

    def _agree_to_stop(self, stop: StopRequest) -> int | None:
        """Return the exit code of the signal that some process had, None if none had any; all processes ask this."""
        codes = {code for code in self.processes.gather(stop.exit_code) if code is not None}
        return min(codes, default=None)  # an interrupt comes before a termination

    def validate(
        self, weights: dict[str, Tensor] | None, is_stopping: Callable[[], bool] = lambda: False
    ) -> ValidationResult | None:
        """Validate these weights, or those of the model; see `Validator.validate`."""
        assert self.validator is not None
        batch_tokens = self.reader.record.micro_batch_tokens(max(1, self.state.step))
        return self.validator.validate(self.trained.model, self.state.step, batch_tokens, weights, is_stopping)

    def _validate(self, log: TrainingLog, stop: StopRequest) -> bool:
        """Validate; return False, in all processes, if that was given up because one was told to stop."""
        started = time.perf_counter()
        result = self.validate(self.trained.evaluated_weights(), lambda: stop.exit_code is not None)
        if result is None:
            return False
        self.state = self.state.model_copy(update={"validation": result.scores, "is_validation_due": False})
        elapsed = time.perf_counter() - started
        self._progress.clock.validated += elapsed
        if result.num_halved:
            log.say(f"step {self.state.step:,}: out of memory in the validation; batches halved: {result.num_halved:,}")
        values = result.scores.model_dump(exclude={"step"})
        log.record("validation", self.state.step, {**values, "elapsed_seconds": elapsed, "samples": result.samples})
        log.show_validation(
            self.state.epoch, *self._progress.loss_and_speed(self.state.tally), result.scores, result.samples
        )
        self._progress.clock.validated += time.perf_counter() - started - elapsed  # writing the report is a part of it
        return True

    def _validations_since_best(self) -> int:
        """Return how many validations came after the best one, by the records of the run."""
        validations = list_validations(self.run.read_metrics()) if self.processes.is_main else []
        best = find_best(validations, self.training.best_metric)
        return self.processes.share(len(validations) - 1 - validations.index(best) if best is not None else 0)

    def check_place(self) -> None:
        """Refuse to write where the run folder is no longer.

        Raises:
            OutputError: It was moved or removed; something else may stand there.
        """
        if self._place is not None and not stands_at(self.run.path, self._place):
            raise OutputError(
                "the run folder was moved or removed while it trains",
                at=self.run.path,
                fix="train again with -o where it is now: it goes on from its last checkpoint",
            )

    def _save(self, writer: CheckpointWriter) -> None:
        started = time.perf_counter()
        if self.processes.is_main:
            self.check_place()
            writer.write(self.trained.take_snapshot, self.state)
        else:
            self.trained.take_snapshot()
        self._progress.clock.saved += time.perf_counter() - started

    def _log_training(self, log: TrainingLog) -> None:
        """Write a line of metrics, and begin the next."""
        state, rate = self.state, self._learning_rate()
        values = self._progress.end_line(state, rate)
        log.record("train", state.step, values)
        log.show_training(state.step, state.epoch, values["loss"], values["tokens_per_second"], rate)
        self.state = state.model_copy(update={"tally": Tally()})

    def _show_status(self, log: TrainingLog, per_step: float) -> None:
        log.status(self._progress.describe(self.state, self._learning_rate(), self.max_steps, per_step))

    def _learning_rate(self) -> float:
        return learning_rate_at(self.state.step, self.training, self.max_steps)
