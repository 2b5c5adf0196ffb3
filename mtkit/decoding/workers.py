"""Batches that are computed side by side, each by a thread of its own.

The operations of a decoding step are too small to share among the cores of a CPU: most of the time the threads would
wait for each other. A batch a core needs no such waiting; Python itself runs one thread at a time, but torch lets the
others on while it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


class Workers:
    """A context in which functions run side by side, the CPU's threads shared out among them.

    Args:
        count: Functions that run at once. With one, a function runs when it is waited for, in the thread that waits.
    """

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        self._executor: ThreadPoolExecutor | None = None

    @property
    def capacity(self) -> int:
        """Calls that are best started before the first is waited for: so many that nobody runs out of work."""
        return 2 * self.count if self.count > 1 else 1

    def __enter__(self) -> Workers:
        if self.count > 1:
            share = max(1, torch.get_num_threads() // self.count)
            self._executor = ThreadPoolExecutor(self.count, "translating", torch.set_num_threads, (share,))
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def start(self, function: Callable[..., Result], *arguments: Any) -> Callable[[], Result]:
        """Start a call; return what waits for its result, or raises what it raised."""
        if self._executor is None:
            return lambda: function(*arguments)
        return self._executor.submit(function, *arguments).result
