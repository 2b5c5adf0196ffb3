"""What a server answers when it cannot do what was asked."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is answered with an error: `{"error": message}`, as LibreTranslate does.

    Args:
        status: Of HTTP.
        message: One line for the person who wrote the client.
        retry_after: Seconds after which it may be tried again; None if that would not help.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
