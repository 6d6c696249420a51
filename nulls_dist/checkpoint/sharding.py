"""How tensor parallelism cuts a dense parameter: a fact of the format, by the parameter's name.

Weights are always stored whole. Optimizer state is stored as the ranks held it, so whoever reads it
under another degree joins the shards and cuts them anew. Source of the layout: Megatron-core's
ColumnParallelLinear, RowParallelLinear and VocabParallelEmbedding (0.16.1).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharding:
    """The cut of one kind of parameter."""

    dim: int
    """Dimension that is cut."""
    stride: int = 1
    """Equal blocks along it that are cut one by one: gate and up of a SwiGLU matrix are two."""

    def shard(self, whole: Tensor, index: int, num_shards: int) -> Tensor:
        """Return shard `index` of a whole parameter: of each block the same share."""
        assert whole.size(self.dim) % (num_shards * self.stride) == 0, "shards are equal"
        pieces = whole.chunk(num_shards * self.stride, self.dim)
        return torch.cat(pieces[index::num_shards], self.dim)

    def join(self, shards: Sequence[Tensor]) -> Tensor:
        """Return the whole parameter of all its shards, in order."""
        blocks = zip(*(shard.chunk(self.stride, self.dim) for shard in shards), strict=True)
        return torch.cat([piece for block in blocks for piece in block], self.dim)

    def shape_of_shard(self, shape: Sequence[int], num_shards: int) -> tuple[int, ...]:
        """Return the shape of a shard of a whole parameter."""
        return tuple(
            size // num_shards if dim == self.dim else size for dim, size in enumerate(shape)
        )

    def shape_of_whole(self, shape: Sequence[int], num_shards: int) -> tuple[int, ...]:
        """Return the shape of the parameter that a shard belongs to."""
        return tuple(
            size * num_shards if dim == self.dim else size for dim, size in enumerate(shape)
        )


_RULES: Final = (
    (re.compile(r"(embedding\.word_embeddings|output_layer)\.weight"), Sharding(dim=0)),
    (re.compile(r".*\.self_attention\.linear_qkv\.weight"), Sharding(dim=0)),
    (re.compile(r".*\.self_attention\.linear_proj\.weight"), Sharding(dim=1)),
    (re.compile(r".*\.mlp\.backbone\.linear_fc1\.weight"), Sharding(dim=0, stride=2)),
    (re.compile(r".*\.mlp\.backbone\.linear_fc2\.weight"), Sharding(dim=1)),
)


def sharding_of(name: str) -> Sharding | None:
    """Return how a parameter is cut; None where every rank holds it whole (norms, sinks)."""
    return next((sharding for rule, sharding in _RULES if rule.fullmatch(name)), None)
