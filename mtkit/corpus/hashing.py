"""Lines as 64-bit hashes, so that millions of them can be compared in little memory.

Among ten million different lines the chance that any two share a hash is about 3 in a million.
"""

from __future__ import annotations

import unicodedata
from functools import partial

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from mtkit.corpus.invisible import remove_invisible

Hashes = npt.NDArray[np.uint64]

_ODD_CONSTANT = np.uint64(0x9E3779B97F4A7C15)
_nfkc = partial(unicodedata.normalize, "NFKC")


def hash_pairs(sources: list[str], targets: list[str]) -> Hashes:
    """Return a hash of each pair that is equal for exactly equal pairs only: `(pairs,)` uint64."""
    return _hash(_encode(sources), len(sources)) * _ODD_CONSTANT + _hash(_encode(targets), len(targets))


def hash_tag(tag: str | None) -> int:
    """Return a hash of a tag, 64 bits; 0 for none."""
    return 0 if tag is None else xxh3_64_intdigest(tag.encode())


def hash_normalized(lines: list[str]) -> Hashes:
    """Return a hash of each line that ignores case, Unicode variants, what is invisible, and spacing.

    Returns:
        `(lines,)` uint64.
    """
    visible = remove_invisible("\n".join(lines)).split("\n")
    # Folding takes characters apart that have no other case (ΐ), so it is followed by another normalisation.
    text = _encode(map(_nfkc, map(str.casefold, map(_nfkc, visible)))).replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return _hash(text.replace(b" \n", b"\n").replace(b"\n ", b"\n").strip(b" "), len(lines))


def is_among(hashes: Hashes, chosen: Hashes) -> npt.NDArray[np.bool_]:
    """Return which of `hashes` stand among the few that are `chosen`."""
    if len(chosen) == 0:
        return np.zeros(len(hashes), np.bool_)
    ordered = np.unique(chosen)
    places = np.searchsorted(ordered, hashes)
    places[places == len(ordered)] = 0
    found: npt.NDArray[np.bool_] = ordered[places] == hashes
    return found


def _encode(lines: object) -> bytes:
    return "\n".join(lines).encode()  # type: ignore[arg-type]


def _hash(text: bytes, count: int) -> Hashes:
    return np.fromiter(map(xxh3_64_intdigest, text.split(b"\n")), np.uint64, count)
