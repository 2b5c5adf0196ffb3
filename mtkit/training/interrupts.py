"""Signals during training: finish the step, save, and go; or save and go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from mtkit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from mtkit.runtime import console


@contextmanager
def tolerate_save_requests() -> Iterator[None]:
    """Let SIGUSR1 do nothing where there is nothing to save yet, or no more: by itself it ends a process."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


class StopRequest:
    """Turns signals into requests that the training loop reads.

    The first SIGINT or SIGTERM asks to stop, a second SIGINT stops at once; SIGUSR1, where the system has it, asks to
    save.

    Attributes:
        exit_code: None until a stop is asked for; then the exit code that says by what.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self._wants_save = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python handles signals nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask_stop)
            if hasattr(signal, "SIGUSR1"):
                self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._ask_save)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def take_save(self) -> bool:
        """Return whether a checkpoint was asked for since the last call."""
        wants_save, self._wants_save = self._wants_save, False
        return wants_save

    def _ask_stop(self, number: int, frame: FrameType | None) -> None:
        is_interrupt = number == signal.SIGINT
        if self.exit_code is not None:
            if is_interrupt:
                raise KeyboardInterrupt
            return  # launchers and schedulers may ask several times
        self.exit_code = EXIT_INTERRUPTED if is_interrupt else EXIT_TERMINATED
        once_more = " (once more stops at once)" if is_interrupt else ""
        console.warn(f"stopping after this step, saving a checkpoint{once_more}")

    def _ask_save(self, number: int, frame: FrameType | None) -> None:
        self._wants_save = True
