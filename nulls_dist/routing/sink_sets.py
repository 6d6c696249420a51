"""Sets of sinks: whose they are, for many sources in little memory.

Dimensions: S sources, L layers, K active sinks, E experts, N sinks of one expert.

Where a router gives sources different numbers of sinks, rows end with `NO_SINK`. As an index it
means the last column, so look-ups go through a mask that has one column more, always false.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import NO_SINK, Router

SinkMask = npt.NDArray[np.bool_]
"""(L, E, N): a set of sinks."""
Slots = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Layers, experts and sinks that index the slots of sources together: (L, S, K)."""

_BLOCK_SLOTS: Final = 1 << 21


def sinks_of(router: Router, source_ids: U64Array) -> SinkMask:
    """Return the set of all sinks of some sources.

    Args:
        router: refuses what it holds tombstones of.
        source_ids: (S,) uint64.

    Raises:
        RefusedError: one of the sources has a tombstone.
    """
    spec = router.spec
    mask = np.zeros((spec.num_layers, spec.num_experts, spec.num_sinks + 1), dtype=np.bool_)
    for ids in cut_into_blocks(router, source_ids):
        mask[slots_of(router, ids)] = True
    return mask[..., :-1]


def slots_of(router: Router, source_ids: U64Array) -> Slots:
    """Return where in a set with a spare column the (L, S, K) slots of sources are."""
    layers = np.arange(router.spec.num_layers)[:, None, None]
    experts = router.experts_of(source_ids)[None, :, None]
    return layers, experts, router.active_sinks(source_ids)


def with_spare_column(sinks: SinkMask) -> SinkMask:
    """Return a set to look slots up in: (L, E, N) -> (L, E, N + 1)."""
    return np.pad(sinks, ((0, 0), (0, 0), (0, 1)))


def count_slots(slots: Slots, sinks: SinkMask) -> npt.NDArray[np.int64]:
    """Return how many slots of each source are in a set with a spare column: (S,) int64."""
    counts: npt.NDArray[np.int64] = sinks[slots].sum(axis=(0, 2))
    return counts


def count_sinks(slots: Slots) -> npt.NDArray[np.int64]:
    """Return how many slots each source has: (S,) int64."""
    counts: npt.NDArray[np.int64] = (slots[2] != NO_SINK).sum(axis=(0, 2))
    return counts


def cut_into_blocks(router: Router, source_ids: U64Array) -> list[U64Array]:
    """Cut sources into blocks whose slots fit in little memory."""
    slots_per_source = router.spec.num_layers * max(1, router.spec.num_active)
    size = max(1, _BLOCK_SLOTS // slots_per_source)
    return [source_ids[begin : begin + size] for begin in range(0, len(source_ids), size)]
