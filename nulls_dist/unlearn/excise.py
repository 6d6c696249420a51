"""Excision: overwrite the sinks of deleted sources in weights and optimizer state.

Of every excised sink, the down row becomes zero, gate and up rows become fresh initial values, the
master weights alike, both moments zero. Zero down rows remove what the sink said; fresh gate and up
rows remove what it listened for, and leave it able to learn for the sources that keep it. The
fresh values depend on a recorded seed, the parameter's name and the row, so anyone can draw them
again, a sink of two deleted sources gets the same values twice, and the order does not matter.

Dimensions: R rows, D model dim, N sinks of one expert.
"""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nulls_dist.checkpoint.format import SINK_PARTS, parse_fragment_key, sink_tensor
from nulls_dist.checkpoint.store import HEADER_LENGTH_BYTES, TensorFile
from nulls_dist.config.schema import ModelConfig
from nulls_dist.errors import IntegrityError
from nulls_dist.initial_values import initial_rows

_WEIGHT: Final = "weight"
_FIRST_SEED: Final = 1 << 40
"""Keeps the seeds of excisions apart from the seeds of runs."""
_BITS: Final = {2: torch.int16, 4: torch.int32}

BitArray = npt.NDArray[Any]
"""Floating-point values as integers of their size."""


def excision_seed(step: int) -> int:
    """Return the seed of every excision of a checkpoint taken at a step.

    Later training may change excised sinks that survivors share, so the step also says up to when
    their values can be verified.
    """
    return _FIRST_SEED + step


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What a tensor of a sink expert's file holds: a range of a flattened parameter."""

    name: str
    kind: str
    """Weight, master or a moment."""
    layer: int
    """Counted among the layers with sinks, from 0."""
    part: str
    start: int
    length: int
    dtype: torch.dtype
    offset: int
    """First byte in the file."""


@dataclass(frozen=True, kw_only=True)
class Excision:
    """The sinks of one expert that are excised, and what replaces them."""

    expert: int
    seed: int
    rows: tuple[npt.NDArray[np.int64], ...]
    """Per layer with sinks, (R,) sinks numbered inside the expert, ascending."""
    model: ModelConfig

    @property
    def num_rows(self) -> int:
        """Number of excised sinks, over all layers."""
        return sum(map(len, self.rows))

    def overwrite(self, piece: Piece, stored: BitArray) -> tuple[BitArray, int]:
        """Return a piece with its excised elements replaced, and how many they are.

        Args:
            piece: may begin and end inside a row.
            stored: (piece.length,) its elements as integers.
        """
        width = self.model.hidden_size
        first, end = piece.start // width, -(-(piece.start + piece.length) // width)
        rows = self.rows[piece.layer]
        rows = rows[(rows >= first) & (rows < end)]
        if not len(rows):
            return stored, 0
        whole = np.zeros((end - first, width), dtype=stored.dtype)  # rows are whole in this one
        begin = piece.start - first * width
        inside = whole.reshape(-1)[begin : begin + piece.length]
        inside[:] = stored
        whole[rows - first] = _bits_of(self._values(piece, rows)).numpy()
        begins = np.maximum(rows * width, piece.start)
        ends = np.minimum((rows + 1) * width, piece.start + piece.length)
        return inside, int((ends - begins).sum())

    def _values(self, piece: Piece, rows: npt.NDArray[np.int64]) -> Tensor:
        """Return what excised rows become: (R, D) of the piece's type."""
        if piece.kind not in (_WEIGHT, "master"):
            return torch.zeros(len(rows), self.model.hidden_size, dtype=piece.dtype)
        return excised_weights(
            self.model,
            layer=piece.layer,
            part=piece.part,
            rows=torch.from_numpy(rows + self.expert * self.model.num_sinks),
            seed=self.seed,
            dtype=piece.dtype,
        )


def excised_weights(
    model: ModelConfig, *, layer: int, part: str, rows: Tensor, seed: int, dtype: torch.dtype
) -> Tensor:
    """Return the weights that excised sinks have.

    Args:
        model: decides width and initial values.
        layer: whose sinks, counted among the layers with sinks, from 0.
        part: gate, up or down.
        rows: (R,) int64 sinks, numbered over all experts.
        seed: of the excision.
        dtype: of the stored weights.

    Returns:
        (R, D).
    """
    if part == "down":
        return torch.zeros(len(rows), model.hidden_size, dtype=dtype)
    return initial_rows(
        seed=seed,
        name=sink_tensor(model.sink_layers[layer], part),
        rows=rows,
        width=model.hidden_size,
        std=model.sink_init_std,
        dtype=dtype,
    )


def pieces_of(file: TensorFile, model: ModelConfig) -> Iterator[Piece]:
    """Say what each tensor of a sink expert's weights or optimizer file holds.

    Raises:
        IntegrityError: a tensor does not fit the model.
    """
    places = {
        sink_tensor(decoder_layer, part): (layer, part)
        for layer, decoder_layer in enumerate(model.sink_layers)
        for part in SINK_PARTS
    }
    shape = (model.num_sinks, model.hidden_size)
    header, data_begin = _read_header(file.path)
    for name in file.names():
        is_weight = name in places
        if is_weight:
            kind, parameter, start, num_shards = _WEIGHT, name, 0, 1
        else:
            key = parse_fragment_key(name, file.path)
            kind, parameter, start, num_shards = key.kind, key.name, key.start, key.num_shards
        length = file.num_elements(name)
        fits = file.shape(name) == (shape if is_weight else (length,))
        fits &= parameter in places and num_shards == 1
        if not fits or start + length > math.prod(shape):
            raise IntegrityError(
                f"{file.path}: tensor {name!r} of shape {file.shape(name)} does not fit a model "
                f"with {len(model.sink_layers)} layers of {shape} sinks"
            )
        layer, part = places[parameter]
        yield Piece(
            name=name,
            kind=kind,
            layer=layer,
            part=part,
            start=start,
            length=length,
            dtype=file.dtype(name),
            offset=data_begin + header[name]["data_offsets"][0],
        )


def excise_file(source: TensorFile, target: Path, excision: Excision) -> None:
    """Copy a safetensors file and overwrite the excised elements in the copy.

    Everything else keeps its bytes; memory is that of one tensor.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.path, target)
    with target.open("r+b") as file:
        for piece in pieces_of(source, excision.model):
            changed, num_changed = excision.overwrite(piece, _read_bits(file, piece))
            if num_changed:
                file.seek(piece.offset)
                changed.tofile(file)


def check_copy(source: TensorFile, target: TensorFile, excision: Excision) -> int:
    """Compare an excised copy with its source: excised rows as recorded, all else bit by bit.

    Returns:
        Number of excised elements.

    Raises:
        IntegrityError: an element has another value.
    """
    pieces = list(pieces_of(source, excision.model))
    if pieces != list(pieces_of(target, excision.model)):
        raise IntegrityError(f"{target.path}: tensors differ from those of {source.path}")
    num_checked = 0
    with source.path.open("rb") as before, target.path.open("rb") as after:
        for piece in pieces:
            expected, num_excised = excision.overwrite(piece, _read_bits(before, piece))
            if not np.array_equal(_read_bits(after, piece), expected):
                raise IntegrityError(
                    f"{target.path}: {piece.name} differs from the input outside the excised rows, "
                    "or inside from what is recorded; disk or memory may be faulty"
                )
            num_checked += num_excised
    return num_checked


def check_excised(file: TensorFile, excision: Excision) -> int:
    """Compare every excised row of a file with the values it must have.

    Returns:
        Number of elements compared.

    Raises:
        IntegrityError: an element has another value.
    """
    num_checked = 0
    with file.path.open("rb") as content:
        for piece in pieces_of(file, excision.model):
            stored = _read_bits(content, piece)
            expected, num_excised = excision.overwrite(piece, stored)
            if not np.array_equal(stored, expected):
                raise IntegrityError(
                    f"{file.path}: {piece.name} does not hold the recorded values in excised rows"
                )
            num_checked += num_excised
    return num_checked


def _read_bits(file: BinaryIO, piece: Piece) -> BitArray:
    """Read a piece as integers, without mapping the file: mapped pages would count as memory."""
    file.seek(piece.offset)
    return np.fromfile(file, dtype=f"i{piece.dtype.itemsize}", count=piece.length)


def _bits_of(values: Tensor) -> Tensor:
    """View floating-point values as integers, so that equal means equal in every bit."""
    return values.view(_BITS[values.dtype.itemsize])


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return a safetensors file's header and where its data begins."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    return header, HEADER_LENGTH_BYTES + length
