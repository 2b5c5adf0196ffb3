"""One request and its way through the engine: its deadline, and its end when the client hangs up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mtkit.decoding.request import Request
from mtkit.decoding.translation import Translation
from mtkit.serving.engine import Engine
from mtkit.serving.fair_queue import Job, Kind
from mtkit.serving.refusal import RefusedError

Result = TypeVar("Result")


class HungUpError(Exception):
    """The client is gone, and nobody reads an answer."""


class Session:
    """What one request lets the engine do.

    Args:
        engine: Translates.
        client: Who asks.
        time_limit_seconds: From now.
    """

    def __init__(self, engine: Engine, client: str, time_limit_seconds: float) -> None:
        self.engine = engine
        self.client = client
        self._end = time.monotonic() + time_limit_seconds
        self._lock = threading.Lock()
        self._jobs: list[Job] = []
        self._is_over = False

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit."""
        return max(0.0, self._end - time.monotonic())

    async def translate(self, kind: Kind, lines: Sequence[Request]) -> list[Translation]:
        """Return the translation of each line.

        Raises:
            RefusedError: The engine takes no more, or the translation failed.
        """
        return await asyncio.wrap_future(self._submit(kind, lines).answer)

    def translate_here(self, kind: Kind, lines: Sequence[Request]) -> list[Translation]:
        """Return the translation of each line; for a thread of its own, not that of the event loop.

        Raises:
            RefusedError: The engine takes no more, or the translation failed.
        """
        return self._submit(kind, lines).answer.result()

    def _submit(self, kind: Kind, lines: Sequence[Request]) -> Job:
        with self._lock:
            if self._is_over:
                raise RefusedError(503, "the request was dropped")
            self._jobs.append(self.engine.submit(self.client, kind, lines))
            return self._jobs[-1]

    def end(self) -> None:
        """Drop what is not done, and take nothing more."""
        with self._lock:
            self._is_over = True
            jobs = self._jobs
        for job in jobs:
            self.engine.drop(job)

    async def run(self, work: Awaitable[Result], until_gone: Callable[[], Awaitable[None]]) -> Result:
        """Return the result of work, unless the time is over or the client gone before.

        Args:
            work: What uses this session.
            until_gone: Returns when the client has hung up.

        Raises:
            RefusedError: 504 after the time limit; or as the work raises it.
            HungUpError: The client is gone.
        """
        working = asyncio.ensure_future(work)
        watching = asyncio.ensure_future(until_gone())
        try:
            await asyncio.wait({working, watching}, timeout=self.seconds_left, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if watching.done():
                raise HungUpError
            raise RefusedError(504, "the translation took too long")
        finally:
            working.cancel()
            watching.cancel()
            self.end()
