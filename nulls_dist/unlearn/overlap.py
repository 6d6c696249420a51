"""Which sources share how many sinks with some named ones.

Overlap is counted in (layer, sink) slots. Sources of different experts share none, and a private
source's sinks are no one else's.

Dimensions: S sources, L layers, K active sinks.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import NO_SINK, Router
from nulls_dist.routing.sink_sets import cut_into_blocks

NUM_LARGEST: Final = 10


@dataclass(kw_only=True, slots=True)
class Overlap:
    """How the sinks of one source overlap with others'; pairs are (source id, slots shared).

    Pairs are ordered by slots, most first, then by id; sources that share nothing are left out.
    """

    num_others: int = 0
    """Other sources of its expert."""
    named: list[tuple[int, int]] = field(default_factory=list)
    """All other named sources."""
    largest: list[tuple[int, int]] = field(default_factory=list)
    """The first `NUM_LARGEST` of all other sources."""
    twins: list[int] = field(default_factory=list)
    """Sources with exactly the same sinks in every layer, ascending."""


def measure_overlaps(
    router: Router, source_ids: U64Array, named: Collection[int]
) -> dict[int, Overlap]:
    """Measure the overlap of each named source with all sources.

    Args:
        router: without tombstones.
        source_ids: (S,) all sources.
        named: the sources to measure.
    """
    overlaps = {source_id: Overlap() for source_id in sorted(named)}
    asked = np.array(list(overlaps), dtype=np.uint64)
    experts, asked_experts = router.experts_of(source_ids), router.experts_of(asked)
    for expert in np.unique(asked_experts):
        group = asked[asked_experts == expert]
        sinks_of_group = router.active_sinks(group)
        blocks = cut_into_blocks(router, source_ids[experts == expert])
        for ids in tqdm(blocks, desc=f"overlaps in expert {expert}", disable=None):
            sinks = router.active_sinks(ids)
            num_slots = (sinks != NO_SINK).sum(axis=(0, 2))
            for place, source_id in enumerate(group):
                own = sinks_of_group[:, place]
                shared, others = _count_shared(sinks, own, router.spec.num_sinks), ids != source_id
                is_twin = others & (shared == num_slots) & (shared == (own != NO_SINK).sum())
                overlap = overlaps[int(source_id)]
                overlap.twins += ids[is_twin].tolist()
                _add(overlap, group, ids[others], shared[others])
    return overlaps


def _count_shared(
    sinks: npt.NDArray[np.int64], own: npt.NDArray[np.int64], num_sinks: int
) -> npt.NDArray[np.int64]:
    """Return how many slots sources share with one of them: (L, S, K) and (L, K) -> (S,)."""
    layers = np.arange(len(own))[:, None]
    is_own = np.zeros((len(own), num_sinks + 1), dtype=np.bool_)
    is_own[layers, own] = True
    is_own[:, NO_SINK] = False
    counts: npt.NDArray[np.int64] = is_own[layers[:, :, None], sinks].sum(axis=(0, 2))
    return counts


def _add(overlap: Overlap, named: U64Array, ids: U64Array, shared: npt.NDArray[np.int64]) -> None:
    """Take a block of other sources into account."""
    overlap.num_others += len(ids)
    overlap.named = _rank([*overlap.named, *_pairs(ids, shared, np.isin(ids, named))])
    most = np.sort(shared)[-NUM_LARGEST:].min(initial=shared.max(initial=0))
    overlap.largest = _rank([*overlap.largest, *_pairs(ids, shared, shared >= most)])[:NUM_LARGEST]


def _pairs(
    ids: U64Array, shared: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> list[tuple[int, int]]:
    chosen = chosen & (shared > 0)
    return list(zip(ids[chosen].tolist(), shared[chosen].tolist(), strict=True))


def _rank(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
