"""A run's numbers for TensorBoard, where it is installed: a convenience, which stops no training."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mtkit.checkpoint.run_folder import RunFolder
from mtkit.runtime import console


class Board:
    """Writes an event file for TensorBoard; once it cannot be written, that is told, and no more is.

    Args:
        run: The run.
        step: The step that the run goes on from: TensorBoard forgets what it was told of later ones.
    """

    def __init__(self, run: RunFolder, step: int) -> None:
        self._folder = run.path / "tensorboard"
        self._writer: Any = None
        try:
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            return
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        try:
            self._folder.mkdir(exist_ok=True)
            self._writer = RecordWriter((self._folder / name).open("ab"))
        except OSError as exc:
            self._give_up(exc)
        self._write(step + 1, file_version="brain.Event:2")
        self._write(step + 1, session_log={"status": "START"})

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write the numbers among the values of a record."""
        numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        shown = [{"tag": f"{kind}/{name}", "simple_value": value} for name, value in numbers.items()]
        self._write(step, summary={"value": shown})

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            with suppress(OSError):  # all was flushed
                self._writer.close()
        self._writer = None

    def _write(self, step: int, **content: Any) -> None:
        if self._writer is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event

        try:
            self._writer.write(Event(wall_time=time.time(), step=step, **content).SerializeToString())
            self._writer.flush()
        except OSError as exc:
            self._give_up(exc)

    def _give_up(self, exc: OSError) -> None:
        self.close()
        console.warn(f"no more is written for TensorBoard: {exc.strerror or exc}: {self._folder}")
