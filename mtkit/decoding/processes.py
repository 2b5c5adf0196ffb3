"""A process that translates batches for another one.

It gets what to load and then one batch after the other through its standard input, and answers through its standard
output: pickles, which never leave these two pipes. It ends when its input does, so also when the process that started
it was killed. What it cannot do it answers with None: the other process does it again, and meets the error.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mtkit.runtime.signals import kill_at_exit

if TYPE_CHECKING:
    from mtkit.config.decoding import DecodingSection
    from mtkit.decoding.minimum_bayes_risk import Utility


@dataclass(frozen=True)
class Loading:
    """What a process loads, as `Translator.load` does; it translates on the CPU."""

    paths: Sequence[str | Path]
    decoding: DecodingSection
    utility: Utility | None
    align: bool

    @property
    def num_bytes(self) -> int:
        """About how much memory a process takes: torch, the weights, and these once more as they are laid out."""
        files = [file for path in self.paths for file in Path(path).rglob("model.safetensors")]
        return (400 << 20) + 2 * max((file.stat().st_size for file in files), default=0) * len(self.paths)


class WorkerProcess:
    """The process, from outside. It has a session of its own, so that Ctrl-C reaches only the one that started it."""

    def __init__(self) -> None:
        self.is_lost = False
        # Modules come from where this process has them; `python -m` would look into the working directory first.
        code = f"import sys; sys.path[:] = {sys.path!r}; from mtkit.decoding.processes import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        # It keeps nothing that could be lost with it.
        self._finalizer = weakref.finalize(self, _end, self._process)
        kill_at_exit(self._process)

    def load(self, loading: Loading) -> bool:
        """Let the process load the model, wait for it, and return whether it did.

        It cannot if the utility is a function that has no name, such as a lambda, or is not in a module.
        """
        try:
            return self.call(loading) is True
        except (pickle.PicklingError, AttributeError, TypeError):
            self.is_lost = True
            self._finalizer()
            return False

    def call(self, message: Any) -> Any | None:
        """Send a message and return the answer; None if there is none, with `is_lost` set if there never will be."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, message)
            return pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError, ValueError):
            self.is_lost = self._finalizer.alive  # else it was ended on purpose
            self._finalizer()
            return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _send(stream: Any, message: Any) -> None:
    stream.write(pickle.dumps(message))
    stream.flush()


def main() -> None:
    """Serve the process that started this one, and end with it."""
    requests, answers = sys.stdin.buffer, _take_standard_output()
    translate = _load(_receive(requests))
    _answer(answers, True)
    while True:
        batch = _receive(requests)
        try:
            found = translate(batch)
        except Exception:
            found = None  # it is met again, and told, by the process that asked
        _answer(answers, found)


def _receive(requests: BinaryIO) -> Any:
    try:
        return pickle.load(requests)
    except (EOFError, pickle.UnpicklingError):  # there is no more, or it was killed while it sent
        sys.exit()


def _answer(answers: BinaryIO, found: Any) -> None:
    try:
        _send(answers, found)
    except OSError:
        os._exit(0)  # nobody waits for an answer, and the stream must not try to send its rest


def _take_standard_output() -> BinaryIO:
    """Return standard output for the answers alone; what else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _load(loading: Loading) -> Any:
    from mtkit.runtime import console
    from mtkit.runtime.memory import bound_kernel_caches, keep_freed_memory

    console.set_silent(True)
    bound_kernel_caches()
    keep_freed_memory()
    from mtkit.decoding.translator import Translator

    translator = Translator.load(
        loading.paths, device="cpu", decoding=loading.decoding, threads=1, utility=loading.utility, align=loading.align
    )
    return translator.segments.translate
