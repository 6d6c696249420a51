"""Private blocks: sinks that one source owns alone, so that deleting it costs nobody else anything.

The pool keeps its size. Of each expert's N sinks the last P are set aside, the same number in every
expert and layer, and cut into blocks of K; the first N - P stay shared and are hashed exactly as a
whole pool of N - P sinks would be. A private source stays in the expert of its bucket, so data,
placement and files are where they always were. There the expert's private sources, in ascending
order of their ids, own the blocks from sink N - P on: all K sinks of it, the same in every layer,
and no shared one. The expert with the most private sources decides P; what others do not need of
it serves nobody. Without private sources P is 0 and nothing changes.

So the list of private sources, fixed when a run is created, and the bucket table say everything.

Dimensions: S sources, V private sources, K active sinks, E experts, N sinks of one expert.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nulls_dist.errors import ConfigError
from nulls_dist.hashing import U64Array


@dataclass(frozen=True, kw_only=True)
class PrivateBlocks:
    """Which sinks are whose alone."""

    source_ids: U64Array
    """(V,) the private sources, ascending."""
    first_sinks: npt.NDArray[np.int64]
    """(V,) where the block of each begins, numbered inside its expert."""
    num_reserved: int
    """P: sinks per expert and layer that are set aside."""
    num_shared: int
    """N - P: sinks per expert and layer that are hashed."""

    def find(self, source_ids: U64Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which of some sources are private, and where their blocks begin.

        Args:
            source_ids: (S,) uint64.

        Returns:
            (F,) places in `source_ids` and (F,) first sinks.
        """
        if not len(self.source_ids):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        rows = np.searchsorted(self.source_ids, source_ids).clip(max=len(self.source_ids) - 1)
        places = np.flatnonzero(self.source_ids[rows] == source_ids)
        return places, self.first_sinks[rows[places]]


def lay_out_blocks(
    source_ids: U64Array,
    experts: npt.NDArray[np.int64],
    *,
    num_experts: int,
    num_sinks: int,
    num_active: int,
) -> PrivateBlocks:
    """Give every private source a block of its expert.

    Args:
        source_ids: (V,) the private sources, ascending.
        experts: (V,) the expert of each.
        num_experts: E.
        num_sinks: N.
        num_active: K.

    Raises:
        ConfigError: an expert has more private sources than it has room for: at least one sink per
            stratum must stay shared.
    """
    counts = np.bincount(experts, minlength=num_experts)
    fullest = int(counts.argmax())
    num_reserved = int(counts[fullest]) * num_active
    num_shared = num_sinks - num_reserved
    if num_shared < num_active or (len(source_ids) and not num_active):
        raise ConfigError(
            f"sinks.private_sources: sink expert {fullest} has {counts[fullest]} private sources, "
            f"whose blocks take {num_reserved} of model.num_sinks ({num_sinks}); at least "
            f"model.num_active ({num_active}) must stay shared; name fewer sources or raise "
            "model.num_sinks"
        )
    by_expert = np.argsort(experts, kind="stable")
    first_of_expert = np.cumsum(counts) - counts
    ranks = np.empty(len(source_ids), dtype=np.int64)
    ranks[by_expert] = np.arange(len(source_ids)) - first_of_expert[experts[by_expert]]
    return PrivateBlocks(
        source_ids=source_ids,
        first_sinks=num_shared + ranks * num_active,
        num_reserved=num_reserved,
        num_shared=num_shared,
    )
