"""Which sources share how many sinks with some named ones.

Overlap is counted in (layer, sink) slots. Sources of different experts share none, and a private
source's sinks are no one else's. A source's slots are a row of a sparse matrix, so that what many
sources share with many others is one product.

Dimensions: S sources, G named sources of a group, L layers, K active sinks, N sinks of one expert.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from tqdm import tqdm

from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import NO_SINK, Router
from nulls_dist.routing.sink_sets import cut_into_blocks

NUM_LARGEST: Final = 10
MAX_LISTED: Final = 1000
"""Named sources and twins beyond this number are counted, not listed."""

_GROUP_SIZE: Final = 256
"""Named sources per pass over all sources."""


@dataclass(kw_only=True, slots=True)
class Overlap:
    """How the sinks of one source overlap with others'; pairs are (source id, slots shared).

    Pairs are ordered by slots, most first, then by id; sources that share nothing are left out.
    """

    num_others: int = 0
    """Other sources of its expert."""
    num_named: int = 0
    """Other named sources that share a slot with it."""
    named: list[tuple[int, int]] = field(default_factory=list)
    """The first `MAX_LISTED` of those."""
    largest: list[tuple[int, int]] = field(default_factory=list)
    """The first `NUM_LARGEST` of all other sources."""
    num_twins: int = 0
    """Sources with exactly the same sinks in every layer."""
    twins: list[int] = field(default_factory=list)
    """The first `MAX_LISTED` of those, ascending."""

    def add(
        self,
        ids: U64Array,
        shared: npt.NDArray[np.int32],
        *,
        is_named: npt.NDArray[np.bool_],
        is_twin: npt.NDArray[np.bool_],
    ) -> None:
        """Take a block of (S,) other sources, later ids than before, into account."""
        self.num_others += len(ids)
        named = _pairs(ids, shared, is_named)
        self.num_named += len(named)
        self.named = _rank([*self.named, *named])[:MAX_LISTED]
        most = np.sort(shared)[-NUM_LARGEST:].min(initial=shared.max(initial=0))
        self.largest = _rank([*self.largest, *_pairs(ids, shared, shared >= most)])[:NUM_LARGEST]
        self.num_twins += int(is_twin.sum())
        self.twins = [*self.twins, *ids[is_twin].tolist()][:MAX_LISTED]


def measure_overlaps(
    router: Router, source_ids: U64Array, named: Collection[int]
) -> Iterator[tuple[int, Overlap]]:
    """Yield each named source with its overlap with all sources, ascending in each expert.

    Memory is that of a group of named sources, however many there are.

    Args:
        router: without tombstones.
        source_ids: (S,) all sources, ascending.
        named: the sources to measure.
    """
    asked = np.array(sorted(named), dtype=np.uint64)
    experts, asked_experts = router.experts_of(source_ids), router.experts_of(asked)
    for expert in np.unique(asked_experts):
        everyone, of_expert = source_ids[experts == expert], asked[asked_experts == expert]
        for begin in range(0, len(of_expert), _GROUP_SIZE):
            group = of_expert[begin : begin + _GROUP_SIZE]
            overlaps = _measure_group(router, everyone, of_expert, group)
            yield from zip(group.tolist(), overlaps, strict=True)


def _measure_group(
    router: Router, everyone: U64Array, named: U64Array, group: U64Array
) -> list[Overlap]:
    """Compare some named sources of an expert with all its sources, a block at a time."""
    overlaps = [Overlap() for _ in group]
    slots_of_group = slot_matrix(router, group)
    num_slots_of_group = slots_of_group.sum(axis=1)
    by_slot = slots_of_group.T.tocsr()
    for ids in tqdm(cut_into_blocks(router, everyone), desc="overlaps", disable=None):
        slots = slot_matrix(router, ids)
        num_slots = slots.sum(axis=1)
        is_named = np.isin(ids, named)
        counts = (slots @ by_slot).toarray()
        for place, source_id in enumerate(group):
            others, shared = ids != source_id, counts[:, place]
            is_twin = (shared == num_slots) & (shared == num_slots_of_group[place])
            overlaps[place].add(
                ids[others], shared[others], is_named=is_named[others], is_twin=is_twin[others]
            )
    return overlaps


def slot_matrix(router: Router, source_ids: U64Array) -> csr_array:
    """Return whose slots are which: (S, L * N) of 0 and 1, int32, sparse."""
    sinks = router.active_sinks(source_ids).swapaxes(0, 1)  # (S, L, K)
    num_layers, num_sinks = router.spec.num_layers, router.spec.num_sinks
    is_sink = sinks != NO_SINK
    slots = (sinks + np.arange(num_layers)[:, None] * num_sinks)[is_sink]
    ends = np.append(0, is_sink.sum(axis=(1, 2)).cumsum())
    ones = np.ones(len(slots), dtype=np.int32)
    return csr_array((ones, slots, ends), shape=(len(sinks), num_layers * num_sinks))


def _pairs(
    ids: U64Array, shared: npt.NDArray[np.int32], chosen: npt.NDArray[np.bool_]
) -> list[tuple[int, int]]:
    chosen = chosen & (shared > 0)
    return list(zip(ids[chosen].tolist(), shared[chosen].tolist(), strict=True))


def _rank(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
