"""Randomness is derived from what a run is, never carried along."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that is a function of `parts` alone, such as `(seed, "order", epoch)`.

    A cryptographic hash keeps seeds of neighboring steps unrelated, and is the same on every machine.
    """
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
