"""Where in a sink expert's files the rows of given sinks lie, byte by byte.

A safetensors file is 8 bytes with the length of its header, the header (JSON: type, shape and
offsets of each tensor), and the data. A tensor is stored whole and row by row, so a row's place
follows from the header alone.

Dimensions: L layers, R sinks per layer, M ranges.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from nulls_dist.unlearn.excise import Piece


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRows:
    """The part of one tensor that belongs to given sinks."""

    tensor: str
    kind: str
    """weight, master or a moment."""
    layer: int
    """Counted among the layers with sinks, from 0."""
    part: str
    """gate, up or down."""
    dtype: str
    ranges: tuple[tuple[int, int], ...]
    """Bytes [begin, end) of the file, ascending, neither touching nor overlapping."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, the ranges uncopied: `asdict` would copy tens of thousands of them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


def locate_rows(
    pieces: Iterable[Piece], width: int, rows: Sequence[npt.NDArray[np.int64]]
) -> Iterator[StoredRows]:
    """Yield where the rows of some sinks lie; tensors that hold none of them are left out.

    Args:
        pieces: of a weights or optimizer file of a sink expert.
        width: of a row, in elements.
        rows: (R,) sinks of each of the L layers with sinks, numbered inside the expert, ascending.
    """
    for piece in pieces:
        spans = rows[piece.layer][:, None] * width + np.array([0, width]) - piece.start
        spans = spans.clip(0, piece.length)
        spans = _coalesce(spans[spans[:, 0] < spans[:, 1]])
        if len(spans):
            yield StoredRows(
                tensor=piece.name,
                kind=piece.kind,
                layer=piece.layer,
                part=piece.part,
                dtype=str(piece.dtype).removeprefix("torch."),
                ranges=tuple(map(tuple, (spans * piece.dtype.itemsize + piece.offset).tolist())),
            )


def _coalesce(spans: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Join spans that touch: (R, 2) begins and ends, ascending, -> (M, 2)."""
    if not len(spans):
        return spans
    is_apart = spans[1:, 0] != spans[:-1, 1]
    begins = spans[np.append(True, is_apart), 0]
    ends = spans[np.append(is_apart, True), 1]
    return np.stack([begins, ends], axis=1)
