"""Optimizer state as topology-free fragments: read any range of any parameter.

Whoever saves writes the pieces it owns; whoever loads asks for the pieces it needs. The fragments
of a parameter tile it without gap or overlap, which `check` proves from the files' headers before a
value is used. A file's checksum is compared when the first value is read from it: of a checkpoint
that many ranks wrote, a rank reads in full only the files that hold its own pieces.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nulls_dist.checkpoint.format import (
    OPTIMIZER_KINDS,
    expert_of_file,
    parse_fragment_key,
)
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.durable import find_file
from nulls_dist.errors import IntegrityError


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterPart:
    """A parameter, or one expert's part of a sink parameter."""

    name: str
    expert: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fragment:
    start: int
    length: int
    file: str
    key: str


class OptimizerFragments:
    """The optimizer state of a checkpoint, addressed by parameter and element."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Index the fragments by the headers of the files, whose sizes are compared first.

        Raises:
            IntegrityError: a file is missing, of another size, or its header is not of the format.
        """
        self._checkpoint = checkpoint
        self._table: dict[tuple[ParameterPart, str], list[_Fragment]] = {}
        for file in checkpoint.files:
            if not file.startswith("optimizer/"):
                continue
            tensors = TensorFile(find_file(checkpoint.root, checkpoint.record(file)))
            for key in tensors.names():
                kind, name, start = parse_fragment_key(key)
                part = ParameterPart(name=name, expert=expert_of_file(file))
                shape = tensors.shape(key)
                if len(shape) != 1:
                    raise IntegrityError(f"{file}: {key} must have one dimension, not {shape}")
                fragment = _Fragment(start=start, length=shape[0], file=file, key=key)
                self._table.setdefault((part, kind), []).append(fragment)
        for fragments in self._table.values():
            fragments.sort(key=lambda fragment: fragment.start)

    def check(self, sizes: Mapping[ParameterPart, int]) -> None:
        """Prove that the fragments tile every parameter exactly, for the master and both moments.

        Args:
            sizes: number of elements of every parameter part of the model.

        Raises:
            IntegrityError: a gap, an overlap, or a parameter that the model does not have.
        """
        kinds = OPTIMIZER_KINDS if self._checkpoint.manifest.step else OPTIMIZER_KINDS[:1]
        unknown = {part for part, _ in self._table} - set(sizes)
        if unknown:
            raise IntegrityError(f"{self._checkpoint.root}: optimizer state of unknown {unknown}")
        for part, size in sizes.items():
            for kind in kinds:
                end = 0
                for fragment in self._table.get((part, kind), []):
                    if fragment.start != end:
                        break
                    end += fragment.length
                if end != size:
                    raise IntegrityError(
                        f"{self._checkpoint.root}: {kind} of {part.name} (expert {part.expert}) "
                        f"has a gap or overlap at element {end} of {size}"
                    )

    def read(self, part: ParameterPart, kind: str, start: int, length: int) -> Tensor:
        """Read elements [start, start + length) of a parameter's state: (length,) float32.

        Raises:
            IntegrityError: a file that holds some of them differs from its checksum.
        """
        values = torch.empty(length)
        for fragment in self._table[part, kind]:
            begin = max(fragment.start, start)
            end = min(fragment.start + fragment.length, start + length)
            if begin < end:
                tensors = self._checkpoint.tensors(fragment.file)
                values[begin - start : end - start] = tensors.read_range(
                    fragment.key, begin - fragment.start, end - fragment.start
                )
        return values
