"""Batches that are translated side by side: each by a thread of its own, most of them in a process of its own.

The operations of a decoding step are too small to share among the cores of a CPU: most of the time the threads would
wait for each other. A batch a core needs no such waiting. But Python runs one thread at a time, and a step is hundreds
of short operations with Python between them, so that threads stand in each other's way. For a longer text, processes
are therefore started beside this one; until they are ready, and if one is lost, its thread translates here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from mtkit.decoding.processes import Loading, WorkerProcess
from mtkit.runtime import console

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A context in which functions run side by side, the CPU's threads shared out among them.

    Args:
        count: Functions that run at once. With one, a function runs when it is waited for, in the thread that waits.
    """

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            share = max(1, torch.get_num_threads() // self.count)
            self._executor = ThreadPoolExecutor(self.count, "translating", torch.set_num_threads, (share,))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._executor is not None:
            is_stopped = kind in (SystemExit, KeyboardInterrupt)  # a batch may take seconds; nobody wants it any more
            self._executor.shutdown(wait=not is_stopped, cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Yield each item with what the function makes of it, in order; what the function raises is raised.

        So many items are started ahead of the one that is waited for that nobody runs out of work.
        """
        ahead = 2 * self.count if self.count > 1 else 1
        running: deque[tuple[Item, Callable[[], Result]]] = deque()
        for item in items:
            running.append((item, self._start(function, item)))
            if len(running) == ahead:
                first, wait = running.popleft()
                yield first, wait()
        for item, wait in running:
            yield item, wait()

    def _start(self, function: Callable[[Item], Result], item: Item) -> Callable[[], Result]:
        """Start a call; return what waits for its result."""
        if self._executor is None:
            return lambda: function(item)
        return self._executor.submit(function, item).result


class ProcessPool:
    """Processes that translate beside this one, each with the model and one thread.

    Args:
        loading: What each loads.
    """

    def __init__(self, loading: Loading) -> None:
        self.loading = loading
        self._lock = threading.Lock()
        self._free: list[WorkerProcess] = []
        self._loaders: list[threading.Thread] = []

    @property
    def is_started(self) -> bool:
        """Whether there are processes, or have been."""
        return bool(self._loaders)

    def start(self, count: int) -> None:
        """Start so many processes, without waiting for them; more than once it does nothing."""
        if self.is_started:
            return
        for _ in range(count):
            process = WorkerProcess()
            self._loaders.append(threading.Thread(target=self._load, args=(process,), daemon=True))
            self._loaders[-1].start()

    def wait(self) -> None:
        """Wait until all processes that were started have loaded the model."""
        for loader in self._loaders:
            loader.join()

    def _load(self, process: WorkerProcess) -> None:
        if process.load(self.loading):
            with self._lock:
                self._free.append(process)
        elif process.is_lost:
            console.warn("a process that was to help with the translation did not start; going on without it")

    def try_call(self, batch: Any) -> Any | None:
        """Return what a process makes of a batch; None if all are busy, or if it could not do it.

        A process that is lost is given up, with a warning.
        """
        with self._lock:
            if not self._free:
                return None
            process = self._free.pop()
        result = process.call(batch)
        if process.is_lost:
            console.warn("a process that helped with the translation was lost; its work is done again here")
            return None
        with self._lock:
            self._free.append(process)
        return result
