"""What a run tells: metrics.jsonl, a log file, a page, the terminal, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from mtkit.checkpoint.run_folder import LOG_NAME, METRICS_NAME, RunFolder, Validation
from mtkit.errors import writing
from mtkit.runtime import console
from mtkit.runtime.files import atomic_file
from mtkit.training.board import Board
from mtkit.training.report import write_report

_COLUMNS = (
    f"{'step':>8} {'epoch':>6} {'loss':>8} {'valid loss':>10} {'perplexity':>10} {'BLEU':>6} {'chrF':>6} {'tok/s':>8}"
)
_MAX_PRINTED_SAMPLES = 2


class TrainingLog:
    """Writes a run's records.

    Args:
        run: The run.
        step: The step that the run goes on from: records of later steps are dropped, for they will be made again.
        is_validation_due: Whether the validation of this step will be made again, too.
        is_silent: Write and print nothing: another process does.
    """

    def __init__(self, run: RunFolder, step: int, *, is_validation_due: bool = False, is_silent: bool = False) -> None:
        self._run = run
        self._is_silent = is_silent
        self._status = console.StatusLine()
        self._has_header = False
        if is_silent:
            return
        path = run.path / METRICS_NAME
        if path.is_file():
            last = {"validation": step - 1} if is_validation_due else {}
            kept = [record for record in run.read_metrics() if record["step"] <= last.get(record["kind"], step)]
            with atomic_file(path) as temporary:
                temporary.write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        with writing(path):
            self._metrics = path.open("a", encoding="utf-8")
            self._text = (run.path / LOG_NAME).open("a", encoding="utf-8")
        self._board = Board(run, step)

    def close(self) -> None:
        """Flush and close all files, and bring the report up to date."""
        if self._is_silent:
            return
        self._status.clear()
        for file in (self._metrics, self._text):
            with suppress(OSError):  # each line was flushed: what could not be written was told then
                file.close()
        self._board.close()
        write_report(self._run)

    def say(self, message: str) -> None:
        """Print a line, and keep it in the log."""
        if self._is_silent:
            return
        self._status.clear()
        console.say(message)
        self._write_text(message)

    def status(self, text: str) -> None:
        """Show the live line; only on a terminal."""
        if not self._is_silent:
            self._status.update(text)

    def record(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Write a record to `metrics.jsonl`, and its numbers to TensorBoard."""
        if self._is_silent:
            return
        with writing(self._run.path / METRICS_NAME):
            self._metrics.write(json.dumps({"kind": kind, "step": step, **values}, ensure_ascii=False) + "\n")
            self._metrics.flush()
        self._board.record(kind, step, values)

    def show_training(self, step: int, epoch: int, loss: float, rate: float, learning_rate: float) -> None:
        """Print a plain line of progress; only where stderr is no terminal."""
        if self._is_silent:
            return
        line = f"step {step:,}  epoch {epoch}  loss {loss:.3f}  {rate:,.0f} tok/s  lr {learning_rate:.2e}"
        self._write_text(line)
        if not console.is_terminal():
            console.say(line)

    def show_validation(
        self,
        epoch: int,
        train_loss: float,
        rate: float,
        validation: Validation,
        samples: Sequence[tuple[str, str, str]],
    ) -> None:
        """Print a table row and sample translations as (source, hypothesis, reference), and write the report.

        All samples are in the record of the validation, and so in the report; the first two are printed.
        """
        if self._is_silent:
            return
        if not self._has_header:
            self.say(_COLUMNS)
            self._has_header = True
        # Not known of a validation that is made up for, of a run that has just gone on.
        shown_loss, shown_rate = ("", "") if math.isnan(train_loss) else (f"{train_loss:.3f}", f"{rate:,.0f}")
        self.say(
            f"{validation.step:>8,} {epoch:>6} {shown_loss:>8} {validation.loss:>10.3f} "
            f"{perplexity(validation.loss):>10.2f} {validation.bleu:>6.2f} {validation.chrf:>6.2f} {shown_rate:>8}"
        )
        for source, hypothesis, reference in samples[:_MAX_PRINTED_SAMPLES]:
            self.say(f"           source     {source}")
            self.say(f"           hypothesis {hypothesis}")
            self.say(f"           reference  {reference}")
        write_report(self._run)

    def _write_text(self, message: str) -> None:
        with writing(self._run.path / LOG_NAME):
            self._text.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {message}\n")
            self._text.flush()


def perplexity(loss: float) -> float:
    """Return e^loss, of a loss in nats a token."""
    return math.exp(min(loss, 50.0))
