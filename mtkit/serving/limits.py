"""What a server takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on what is asked of a server.

    Attributes:
        max_characters: Of one request, all its texts together.
        max_batch: Texts in one request.
        max_queue: Lines of all requests that wait to be translated.
        time_limit_seconds: From the arrival of a request to its answer.
    """

    max_characters: int = 20_000
    max_batch: int = 500
    max_queue: int = 2_000
    time_limit_seconds: float = 60.0

    @property
    def max_body_bytes(self) -> int:
        """Largest body that is read: JSON may spell a character in 12 bytes (a surrogate pair, escaped)."""
        return 12 * self.max_characters + (1 << 16)
