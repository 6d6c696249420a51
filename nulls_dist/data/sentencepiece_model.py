"""What a SentencePiece .model file says: pieces, scores and the settings that decide ids.

The file is one protocol-buffer message (sentencepiece_model.proto). The few fields needed here are
read from the wire format directly, so that no protocol-buffer runtime is required.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

import numpy as np

from nulls_dist.errors import InputError

_BPE: Final = 2


class PieceType(IntEnum):
    """Type of a vocabulary entry, numbered as in the file."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One vocabulary entry; its id is its place in the list."""

    text: str
    score: float
    kind: PieceType


@dataclass(frozen=True, kw_only=True, slots=True)
class SentencePieceModel:
    """A model file's contents, as far as they decide which ids a text gets."""

    pieces: tuple[Piece, ...]
    is_bpe: bool
    byte_fallback: bool
    has_charsmap: bool
    """Whether text is normalised by a table (nmt_nfkc and the like); identity has none."""
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool
    whitespace_as_suffix: bool

    def unconvertible(self) -> str | None:
        """Return why no Hugging Face tokenizer gives the same ids on every text, or None."""
        scores = [piece.score for piece in self.pieces if piece.kind is PieceType.NORMAL]
        reasons = {
            "it is not of type bpe": not self.is_bpe,
            "it has no byte fallback": not self.byte_fallback,
            "it normalises text (normalization_rule_name is not identity)": self.has_charsmap,
            "remove_extra_whitespaces is on": self.remove_extra_whitespaces,
            "escape_whitespaces is off": not self.escape_whitespaces,
            "treat_whitespace_as_suffix is on": self.whitespace_as_suffix,
            "two pieces have the same score": len(set(scores)) != len(scores),
            "it has user-defined or unused pieces": any(
                piece.kind in (PieceType.USER_DEFINED, PieceType.UNUSED) for piece in self.pieces
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def read_sentencepiece_model(path: Path) -> SentencePieceModel:
    """Read a .model file.

    Raises:
        InputError: the file is not a SentencePiece model.
    """
    try:
        return _parse_model(path.read_bytes())
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"{path}: not readable as a SentencePiece model: {error}") from error


def _parse_model(content: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(content):
        if number == 1:
            pieces.append(_parse_piece(dict(_fields(_message(value)))))
        elif number == 2:
            trainer = dict(_fields(_message(value)))
        elif number == 3:
            normalizer = dict(_fields(_message(value)))
    if not pieces:
        raise ValueError("it has no pieces")
    return SentencePieceModel(
        pieces=tuple(pieces),
        is_bpe=trainer.get(3, 1) == _BPE,
        byte_fallback=bool(trainer.get(35, 0)),
        whitespace_as_suffix=bool(trainer.get(24, 0)),
        has_charsmap=bool(normalizer.get(2, b"")),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        escape_whitespaces=bool(normalizer.get(5, 1)),
    )


def _parse_piece(entry: dict[int, int | bytes]) -> Piece:
    return Piece(
        text=_message(entry[1]).decode(),
        score=float(np.frombuffer(_message(entry.get(2, bytes(4))), dtype="<f4")[0]),
        kind=PieceType(int(entry.get(3, PieceType.NORMAL))),
    )


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes belong")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) pairs; fixed-width values stay bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire_type == 2:
            size, place = _varint(message, place)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type} at byte {place}")
        if place + size > len(message):
            raise ValueError(f"it ends inside a field at byte {place}")
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
