"""Keys that a server asks for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mtkit.errors import DataError


class ApiKeys:
    """Keys, kept as hashes: comparing those tells nothing of a key by the time it takes."""

    def __init__(self, keys: list[str]) -> None:
        self._hashes = {_hash(key) for key in keys}

    def __contains__(self, key: str) -> bool:
        """Return whether a key is one of them."""
        return _hash(key) in self._hashes


def read_api_keys(path: Path) -> ApiKeys:
    """Read a key a line; empty lines and those that begin with `#` are left out.

    Raises:
        DataError: The file cannot be read, or has no keys.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise DataError(f"cannot read the keys: {reason}", at=path, fix="give a file with a key a line") from exc
    except UnicodeDecodeError as exc:
        raise DataError("the keys are not UTF-8 text", at=path, fix="give a text file with a key a line") from exc
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise DataError("there are no keys in this file", at=path, fix="write a key a line, or leave --api-keys out")
    return ApiKeys(keys)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
