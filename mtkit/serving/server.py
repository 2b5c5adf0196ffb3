"""The server as a process: its socket, its start and its end."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import uvicorn

from mtkit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, RecipeError
from mtkit.runtime import console
from mtkit.runtime.signals import exit_at_once
from mtkit.serving.app import build_app
from mtkit.serving.service import Server

# How often it is looked whether everything in flight is answered.
_POLL_SECONDS = 0.05
# Answered requests get so long to be sent.
_SEND_SECONDS = 10


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: Address or name.
        port: 0 for one that is free.

    Raises:
        RecipeError: The port is in use or may not be used, or the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except OSError:
            listener.close()
            raise
    except socket.gaierror as exc:
        raise RecipeError(
            f"'{host}' is no address", at="--host", fix="give 127.0.0.1, or 0.0.0.0 for all addresses of this machine"
        ) from exc
    except OSError as exc:
        raise _explain(exc, host, port) from exc
    return listener


def _explain(exc: OSError, host: str, port: int) -> RecipeError:
    match exc.errno:
        case errno.EADDRINUSE:
            return RecipeError(f"port {port} is in use", at="--port", fix="give another one; 0 takes one that is free")
        case errno.EACCES:
            return RecipeError(f"port {port} is for the system", at="--port", fix="give one from 1024")
        case errno.EADDRNOTAVAIL:
            return RecipeError(
                f"{host} is no address of this machine", at="--host", fix="give 127.0.0.1, or 0.0.0.0 for all addresses"
            )
        case _:
            reason = (exc.strerror or str(exc)).lower()
            return RecipeError(f"cannot listen: {reason}", at=f"{host}:{port}", fix="give another --host or --port")


def name_address(listener: socket.socket) -> str:
    """Return the address of a server as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Uvicorn(uvicorn.Server):
    """Finishes what is in flight and refuses new requests after a first signal; ends at once after a second."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._state = server
        self.signal: int | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals while the server runs; raise the one that came again at its end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.signal is not None:
            signal.raise_signal(self.signal)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            _exit(number)
        self.signal = number
        self._state.is_stopping = True

    async def end_when_done(self) -> None:
        """End when a signal came and all requests are answered."""
        has_told = False
        while not (self._state.is_stopping and self._state.num_open == 0):
            if self._state.is_stopping and not has_told:
                console.say(f"stopping: requests to finish: {self._state.num_open}; again to stop at once")
                has_told = True
            await asyncio.sleep(_POLL_SECONDS)
        self.should_exit = True


def _exit(number: int | None) -> NoReturn:
    exit_at_once(EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED)


def serve(server: Server, listener: socket.socket) -> None:
    """Serve until a signal comes, then finish what is in flight.

    Args:
        server: What is served; its engine is started and stopped here.
        listener: From `open_socket`; closed at the end.
    """
    config = uvicorn.Config(
        build_app(server),
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SEND_SECONDS,
        lifespan="off",
    )
    runner = _Uvicorn(config, server)
    server.engine.start()
    try:
        asyncio.run(_run(runner, listener))
    finally:
        listener.close()
        if not server.engine.stop():  # it translates what nobody waits for any more
            _exit(runner.signal)


async def _run(runner: _Uvicorn, listener: socket.socket) -> None:
    watching = asyncio.create_task(runner.end_when_done())
    try:
        await runner.serve(sockets=[listener])
    finally:
        watching.cancel()
