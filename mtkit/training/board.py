"""A run's numbers for TensorBoard, where it is installed: a convenience, which stops no training."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mtkit.checkpoint.run_folder import RunFolder
from mtkit.runtime import console


class Board:
    """Writes event files for TensorBoard; once they cannot be written, that is told, and no more are.

    Args:
        run: The run.
        step: The step that the run goes on from: TensorBoard forgets what it was told of later ones.
    """

    def __init__(self, run: RunFolder, step: int) -> None:
        self._folder = run.path / "tensorboard"
        self._writer: Any = None
        self._honest_hook = threading.excepthook
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        # TensorBoard writes in a thread, whose error comes back by `flush`: it need not print a traceback too.
        threading.excepthook = self._pass_over
        try:
            self._writer = SummaryWriter(str(self._folder), purge_step=step + 1)
        except OSError as exc:
            self._give_up(exc)

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write the numbers among the values of a record."""
        if self._writer is None:
            return
        try:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._writer.add_scalar(f"{kind}/{name}", value, step)
            self._writer.flush()
        except OSError as exc:
            self._give_up(exc)

    def close(self) -> None:
        """End the files."""
        if self._writer is not None:
            with suppress(OSError):  # all was flushed
                self._writer.close()
        self._writer = None
        threading.excepthook = self._honest_hook

    def _give_up(self, exc: OSError) -> None:
        self._writer = None
        console.warn(f"no more is written for TensorBoard: {exc.strerror or exc}: {self._folder}")

    def _pass_over(self, args: threading.ExceptHookArgs) -> None:
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard.")):
            self._honest_hook(args)
