"""Sets of sinks: whose they are, for many sources in little memory.

Dimensions: S sources, L layers, K active sinks, E experts, N sinks of one expert.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import Router

SinkMask = npt.NDArray[np.bool_]
"""(L, E, N): a set of sinks."""

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
    mask = np.zeros((spec.num_layers, spec.num_experts, spec.num_sinks), dtype=np.bool_)
    for ids in cut_into_blocks(router, source_ids):
        mask[slots_of(router, ids)] = True
    return mask


def slots_of(router: Router, source_ids: U64Array) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the index of the (L, S, K) slots of sources in a `SinkMask`."""
    layers = np.arange(router.spec.num_layers)[:, None, None]
    experts = router.experts_of(source_ids)[None, :, None]
    return layers, experts, router.active_sinks(source_ids)


def cut_into_blocks(router: Router, source_ids: U64Array) -> list[U64Array]:
    """Cut sources into blocks whose slots fit in little memory."""
    slots_per_source = router.spec.num_layers * max(1, router.spec.num_active)
    size = max(1, _BLOCK_SLOTS // slots_per_source)
    return [source_ids[begin : begin + size] for begin in range(0, len(source_ids), size)]
