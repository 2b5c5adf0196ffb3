"""The one thread that translates, and what waits for it.

Lines of all requests are translated together. While a window of lines is translated, others gather; the next window
takes whoever's turn it is. A request that comes alone is translated at once. If the last window had lines of several
requests, the next one waits a moment for company, because their clients are about to ask again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from mtkit.decoding.request import Request
from mtkit.decoding.translation import Translation
from mtkit.errors import MtkitError
from mtkit.runtime import console
from mtkit.serving.fair_queue import FairQueue, Job, Kind
from mtkit.serving.refusal import RefusedError

TranslateWindow = Callable[[Kind, Sequence[Request]], Iterator[Translation]]

# How long a window waits for company, at most.
COMPANY_SECONDS = 0.01

# Weight of the newest window in the estimate of the speed.
_NEWEST = 0.2
_MAX_RETRY_SECONDS = 60


class Engine:
    """Translates the lines of many requests, a window at a time, in a thread of its own.

    Args:
        translate: Translates a window of lines of one kind; yields the translations in order.
        window_lines: Lines of a window, at most.
        window_characters: A window takes no further line once it has so many.
        max_queue: Lines that wait, at most.
        company_seconds: See `COMPANY_SECONDS`.
    """

    def __init__(
        self,
        translate: TranslateWindow,
        window_lines: int,
        window_characters: int,
        max_queue: int,
        company_seconds: float = COMPANY_SECONDS,
    ) -> None:
        self.max_queue = max_queue
        self._translate = translate
        self._window_lines = window_lines
        self._window_characters = window_characters
        self._company_seconds = company_seconds
        self._queue = FairQueue()
        self._changed = threading.Condition()
        self._is_over = False
        self._had_company = False
        self._characters_a_second: float | None = None
        self._thread = threading.Thread(target=self._run, name="translating", daemon=True)

    def start(self) -> None:
        """Start to translate."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> bool:
        """Finish the window at hand, refuse what waits, and end the thread; return whether it ended in time."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def num_waiting(self) -> int:
        """Lines that wait."""
        with self._changed:
            return len(self._queue)

    def submit(self, client: str, kind: Kind, lines: Sequence[Request]) -> Job:
        """Let lines wait for their translation.

        Args:
            client: Who asks; clients take turns.
            kind: With what the lines can be translated together.
            lines: Without empty ones.

        Returns:
            The job; its `answer` gets the translations.

        Raises:
            RefusedError: 429 if too many lines wait, 413 if these are too many for ever, 503 after `stop`.
        """
        job = Job(client, kind, lines)
        with self._changed:
            if self._is_over:
                raise RefusedError(503, "the server is shutting down")
            if len(lines) > self.max_queue:
                raise RefusedError(413, f"Invalid request: {len(lines)} lines exceed the limit ({self.max_queue})")
            if len(self._queue) + len(lines) > self.max_queue:
                raise RefusedError(429, "Slowdown: too many requests are waiting", self._estimate_seconds())
            self._queue.add(job)
            self._changed.notify_all()
        if not lines:
            job.answer.set_result([])
        return job

    def drop(self, job: Job) -> None:
        """Translate no more of a job: nobody waits for it. Its answer, if there is none yet, becomes a refusal."""
        with self._changed:
            self._queue.remove(job)
            if not job.answer.done():
                job.answer.set_exception(RefusedError(503, "the request was dropped"))

    def _estimate_seconds(self) -> int:
        """Return about how long it takes until what waits is translated."""
        if self._characters_a_second is None:
            return 1
        return max(1, min(_MAX_RETRY_SECONDS, math.ceil(self._queue.num_characters / self._characters_a_second)))

    def _run(self) -> None:
        while window := self._wait_for_window():
            started = time.monotonic()
            try:
                self._translate_window(window)
            except Exception as exc:  # whatever it is, the others are to be served
                self._fail(window, exc)
            else:
                self._measure(window, time.monotonic() - started)
        with self._changed:
            while waiting := self._queue.take(1 << 20, 1 << 40):
                for job, _ in waiting:
                    _refuse(job, RefusedError(503, "the server is shutting down"))

    def _wait_for_window(self) -> list[tuple[Job, int]]:
        """Return the lines whose turn it is; none when it is over."""
        with self._changed:
            while not self._is_over:
                if not self._queue:
                    self._changed.wait()
                    continue
                if self._had_company:
                    self._wait_for_company()
                if window := self._queue.take(self._window_lines, self._window_characters):
                    self._had_company = len({id(job) for job, _ in window}) > 1
                    return window
            return []

    def _wait_for_company(self) -> None:
        end = time.monotonic() + self._company_seconds
        while len(self._queue) < self._window_lines and not self._is_over:
            left = end - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _translate_window(self, window: Sequence[tuple[Job, int]]) -> None:
        translations = self._translate(window[0][0].kind, [job.lines[line] for job, line in window])
        for place, translation in enumerate(translations):
            job, line = window[place]
            with self._changed:
                job.found[line] = translation
                if len(job.found) == len(job.lines) and not job.answer.done():
                    job.answer.set_result([job.found[number] for number in range(len(job.lines))])
                if all(job.answer.done() for job, _ in window[place + 1 :]):
                    return  # nobody waits for the rest

    def _fail(self, window: Sequence[tuple[Job, int]], exc: Exception) -> None:
        reason = exc.message if isinstance(exc, MtkitError) else f"{type(exc).__name__}: {exc}"
        console.warn(f"a translation failed: {reason}")
        with self._changed:
            for job, _ in window:
                self._queue.remove(job)
                _refuse(job, RefusedError(500, f"Cannot translate text: {reason}"))

    def _measure(self, window: Sequence[tuple[Job, int]], elapsed_seconds: float) -> None:
        speed = sum(len(job.lines[line].source) for job, line in window) / max(elapsed_seconds, 1e-6)
        with self._changed:
            old = self._characters_a_second
            self._characters_a_second = speed if old is None else (1 - _NEWEST) * old + _NEWEST * speed


def _refuse(job: Job, refusal: RefusedError) -> None:
    if not job.answer.done():
        job.answer.set_exception(refusal)
