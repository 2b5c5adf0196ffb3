"""Ctrl-C and termination during training: finish the step, save, and go."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from mtkit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from mtkit.runtime import console


class StopRequest:
    """Turns the first SIGINT or SIGTERM into a request that the training loop reads; a second SIGINT stops at once.

    Attributes:
        exit_code: None until a stop is asked for; then the exit code that says by what.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python handles signals nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.exit_code is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED
        console.warn("stopping after this step, saving a checkpoint (once more stops at once)")
