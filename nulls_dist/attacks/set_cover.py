"""Few survivors that together have the sinks of a deleted source.

Greedy set cover: take the survivor that has most of the slots that are still missing, until none
has any. A minimal cover is at most 1 + ln n times smaller, n slots of the deleted source.
Source: Chvatal 1979, "A greedy heuristic for the set-covering problem".

Dimensions: S survivors, n slots ((layer, sink) pairs) of the deleted source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, vstack
from tqdm import tqdm

from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import Router
from nulls_dist.routing.sink_sets import cut_into_blocks
from nulls_dist.unlearn.overlap import slot_matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """Survivors that cover a source's slots."""

    source_id: int
    num_slots: int
    """Of the source."""
    members: tuple[int, ...]
    """Survivors in the order in which they were chosen."""
    covered: tuple[int, ...]
    """Slots that the members have together, up to each of them."""

    @property
    def share(self) -> float:
        """Share of the source's slots that its members have."""
        return self.covered[-1] / self.num_slots if self.covered else 0.0


def cover_sources(
    router: Router, survivors: U64Array, source_ids: Sequence[int], *, max_members: int
) -> Iterator[Cover]:
    """Yield a cover of each source, ascending in each expert.

    Memory holds, per expert, the survivors' slots that one of its sources also has.

    Args:
        router: without the tombstones of the sources.
        survivors: (S,) ids, ascending.
        source_ids: sources to cover.
        max_members: survivors per cover.
    """
    asked = np.array(sorted(source_ids), dtype=np.uint64)
    experts, experts_of_survivors = router.experts_of(asked), router.experts_of(survivors)
    for expert in np.unique(experts):
        others, of_expert = survivors[experts_of_survivors == expert], asked[experts == expert]
        wanted = slot_matrix(router, of_expert)
        columns = np.unique(wanted.indices)
        wanted = wanted[:, columns].toarray().astype(bool)
        has = _slots_among(router, others, columns)
        for source_id, slots in zip(of_expert.tolist(), wanted, strict=True):
            rows = others != source_id
            chosen, covered = choose_cover(has[rows][:, slots], max_members)
            yield Cover(
                source_id=source_id,
                num_slots=int(slots.sum()),
                members=tuple(others[rows][chosen].tolist()),
                covered=covered,
            )


def choose_cover(has: csr_array, max_members: int) -> tuple[list[int], tuple[int, ...]]:
    """Choose rows of a set-membership matrix greedily.

    Args:
        has: (S, n) sparse, 1 where a set has an element.
        max_members: sets to choose at most.

    Returns:
        Rows in the order of choice, of equal ones the first, and how many elements they have
        together up to each of them.
    """
    num_sets, num_elements = has.shape
    missing = np.ones(num_elements, dtype=np.int64)
    chosen: list[int] = []
    covered: list[int] = []
    while len(chosen) < max_members and num_sets:
        gains = has @ missing
        best = int(gains.argmax())
        if not gains[best]:
            break
        missing[has[[best]].indices] = 0
        chosen.append(best)
        covered.append(num_elements - int(missing.sum()))
    return chosen, tuple(covered)


def _slots_among(
    router: Router, source_ids: U64Array, columns: np.typing.NDArray[np.int32]
) -> csr_array:
    """Return which of some slots each source has: (S, len(columns))."""
    blocks = tqdm(cut_into_blocks(router, source_ids), desc="slots", disable=None, leave=False)
    found = [slot_matrix(router, ids)[:, columns] for ids in blocks]
    return vstack(found, format="csr") if found else csr_array((0, len(columns)), dtype=np.int32)
