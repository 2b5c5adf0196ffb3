"""Signals that end the process: they unwind the stack, so that temporary files are removed; and its end at once."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import threading
import weakref
from pathlib import Path
from types import FrameType
from typing import NoReturn

from mtkit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

# The exit codes of processes that a signal ended, and what is said of them.
STOPPED: dict[object, str] = {EXIT_INTERRUPTED: "interrupted", EXIT_TERMINATED: "terminated"}

# So many seconds after a signal that came while a module was loading it comes again.
_AGAIN = 0.02
# What imports the command line itself, and runs it there, is none of its modules.
_ENTRY = str(Path(__file__).parents[1] / "__main__.py")

_helpers: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def unwind_on_signals() -> None:
    """From now on, let SIGTERM and SIGINT raise `SystemExit` with their exit codes.

    SIGINT stays ignored where it is, as in a background job. A signal that comes while a module is loading waits until
    it is there: what is raised in the code of packages such as torch may get lost, or abort the process.
    """
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def ignore_signals() -> None:
    """Let signals that would raise do nothing any more: the process is about to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_IGN)


def ignore_save_requests() -> None:
    """Let SIGUSR1, which asks a training to save, do nothing where the process does not train: by itself it ends it."""
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def kill_at_exit(helper: subprocess.Popen[bytes]) -> None:
    """Let `exit_at_once` kill a process that helps this one."""
    _helpers.add(helper)


def exit_at_once(code: int) -> NoReturn:
    """End the process without a look at its threads, and with it those that help it.

    Python cannot end a thread that computes in torch.
    """
    for helper in list(_helpers):
        helper.kill()
    os._exit(code)


def _stop(number: int, frame: FrameType | None) -> None:
    if _is_loading(frame):
        timer = threading.Timer(_AGAIN, _send_again, (signal.Signals(number),))
        timer.daemon = True
        timer.start()
        return
    raise SystemExit(EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED)


def _send_again(number: signal.Signals) -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)  # ends a wait, which the other way does not
    else:
        _thread.interrupt_main(number)


def _is_loading(frame: FrameType | None) -> bool:
    """Return whether a module is being imported there."""
    while frame is not None and frame.f_code.co_filename != _ENTRY:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
