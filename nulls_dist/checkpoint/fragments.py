"""Optimizer state as topology-free fragments: read any range of any parameter.

Whoever saves writes the pieces it owns; whoever loads asks for the pieces it needs. The fragments
of a parameter tile it without gap or overlap, which `check` proves from the files' headers before a
value is used. A file's checksum is compared when the first value is read from it: of a checkpoint
that many ranks wrote, a rank reads in full only the files that hold its own pieces.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from nulls_dist.checkpoint.format import (
    OPTIMIZER_KINDS,
    expert_of_file,
    parse_fragment_key,
)
from nulls_dist.checkpoint.shapes import ParameterPart, model_of, part_shapes
from nulls_dist.checkpoint.sharding import sharding_of
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.durable import find_file
from nulls_dist.errors import IntegrityError


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fragment:
    shard: int
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
        self._shapes = part_shapes(model_of(checkpoint))
        self._table: dict[tuple[ParameterPart, str], list[_Fragment]] = {}
        self._num_shards: dict[ParameterPart, int] = {}
        for file in checkpoint.files:
            if file.startswith("optimizer/"):
                self._index(file)
        for fragments in self._table.values():
            fragments.sort(key=lambda fragment: (fragment.shard, fragment.start))

    def _index(self, file: str) -> None:
        tensors = TensorFile(find_file(self._checkpoint.root, self._checkpoint.record(file)))
        for name in tensors.names():
            key = parse_fragment_key(name, tensors.path)
            part = ParameterPart(name=key.name, expert=expert_of_file(file))
            shape = tensors.shape(name)
            if len(shape) != 1:
                raise IntegrityError(f"{file}: {name} must have one dimension, not {shape}")
            if self._num_shards.setdefault(part, key.num_shards) != key.num_shards:
                raise IntegrityError(
                    f"{file}: {name} is of {key.num_shards} shards, others of the same parameter "
                    f"of {self._num_shards[part]}"
                )
            fragment = _Fragment(
                shard=key.shard, start=key.start, length=shape[0], file=file, key=name
            )
            self._table.setdefault((part, key.kind), []).append(fragment)

    def check(self) -> None:
        """Prove that the fragments tile every parameter exactly, for the master and both moments.

        Raises:
            IntegrityError: a gap, an overlap, a parameter that the model does not have, or shards
                of one that is not cut.
        """
        kinds = OPTIMIZER_KINDS if self._checkpoint.manifest.step else OPTIMIZER_KINDS[:1]
        unknown = {part for part, _ in self._table} - set(self._shapes)
        if unknown:
            raise IntegrityError(f"{self._checkpoint.root}: optimizer state of unknown {unknown}")
        for part in self._shapes:
            num_shards = self._num_shards.get(part, 1)
            if num_shards > 1 and sharding_of(part.name) is None:
                raise IntegrityError(
                    f"{self._checkpoint.root}: {part.name} is stored in {num_shards} shards, but "
                    "every rank holds it whole"
                )
            for kind in kinds:
                self._check_tiling(part, kind, num_shards)

    def _check_tiling(self, part: ParameterPart, kind: str, num_shards: int) -> None:
        size = prod(self._shapes[part]) // num_shards
        ends = [0] * num_shards
        for fragment in self._table.get((part, kind), []):
            if fragment.start != ends[fragment.shard]:
                break
            ends[fragment.shard] += fragment.length
        for shard, end in enumerate(ends):
            if end != size:
                raise IntegrityError(
                    f"{self._checkpoint.root}: {kind} of {part.name} (expert {part.expert}, shard "
                    f"{shard} of {num_shards}) has a gap or overlap at element {end} of {size}"
                )

    def read(
        self,
        part: ParameterPart,
        kind: str,
        start: int,
        length: int,
        *,
        shard: int = 0,
        num_shards: int = 1,
    ) -> Tensor:
        """Read elements [start, start + length) of a parameter's state: (length,) float32.

        Args:
            part: which parameter.
            kind: one of OPTIMIZER_KINDS.
            start: first element inside the flattened shard.
            length: how many.
            shard: which shard, of a parameter that tensor parallelism cuts.
            num_shards: how many shards there are for the caller, however many were saved.

        Raises:
            IntegrityError: a file that holds some of them differs from its checksum.
        """
        if self._num_shards[part] == num_shards:
            return self._read_stored(part, kind, shard, start, length)
        whole = self._read_whole(part, kind)
        sharding = sharding_of(part.name)
        if num_shards > 1:
            assert sharding is not None, f"{part.name} is not cut"
            whole = sharding.shard(whole, shard, num_shards)
        return whole.flatten()[start : start + length]

    def _read_whole(self, part: ParameterPart, kind: str) -> Tensor:
        shape, num_shards = self._shapes[part], self._num_shards[part]
        size = prod(shape) // num_shards
        shards = [self._read_stored(part, kind, shard, 0, size) for shard in range(num_shards)]
        sharding = sharding_of(part.name)
        if num_shards == 1:
            return shards[0].view(shape)
        assert sharding is not None, f"{part.name} is not cut"
        return sharding.join(
            [values.view(sharding.shape_of_shard(shape, num_shards)) for values in shards]
        )

    def _read_stored(
        self, part: ParameterPart, kind: str, shard: int, start: int, length: int
    ) -> Tensor:
        values = torch.empty(length)
        for fragment in self._table[part, kind]:
            begin = max(fragment.start, start)
            end = min(fragment.start + fragment.length, start + length)
            if fragment.shard == shard and begin < end:
                tensors = self._checkpoint.tensors(fragment.file)
                values[begin - start : end - start] = tensors.read_range(
                    fragment.key, begin - fragment.start, end - fragment.start
                )
        return values
