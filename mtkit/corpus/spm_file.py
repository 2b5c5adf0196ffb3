"""What stands in a SentencePiece file that its library does not tell: the kind of the model and of each piece.

The file is a protocol buffer; its layout is that of `sentencepiece_model.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class ModelKind(IntEnum):
    """`TrainerSpec.ModelType`."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


class PieceKind(IntEnum):
    """`SentencePiece.Type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """A piece of a vocabulary."""

    text: str
    score: float
    kind: PieceKind


@dataclass(frozen=True)
class SpmFile:
    """A SentencePiece model.

    Attributes:
        kind: How it segments.
        pieces: By their ids.
        is_space_behind: Pieces end with their space instead of beginning with it.
    """

    kind: ModelKind
    pieces: list[Piece]
    is_space_behind: bool

    @classmethod
    def parse(cls, serialized: bytes) -> SpmFile:
        """Read the bytes of a file that the SentencePiece library has accepted."""
        fields = list(_iter_fields(serialized))
        trainer = dict(_iter_fields(next((value for number, value in fields if number == 2), b"")))
        return cls(
            kind=ModelKind(trainer.get(3, ModelKind.UNIGRAM)),
            pieces=[_parse_piece(value) for number, value in fields if number == 1],
            is_space_behind=bool(trainer.get(24, 0)),
        )


def _parse_piece(message: bytes) -> Piece:
    fields = dict(_iter_fields(message))
    (score,) = struct.unpack("<f", fields.get(2, bytes(4)))
    return Piece(fields.get(1, b"").decode(), score, PieceKind(fields.get(3, PieceKind.NORMAL)))


def _iter_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a message: a number for a variable one, else bytes."""
    place = 0
    while place < len(message):
        key, place = _read_number(message, place)
        match key & 7:
            case 0:
                value, place = _read_number(message, place)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, place = _read_number(message, place)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"a field of the wire type {kind}")
        yield key >> 3, message[place : place + size]
        place += size


def _read_number(message: bytes, place: int) -> tuple[int, int]:
    """Return a number of variable length, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
