"""The sources of a world as the deletion planner sees them: what each loses, and how near it is."""

from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from nulls_dist.benchmark.unlearning import tables
from nulls_dist.benchmark.unlearning.lab import EXCISED, Lab
from nulls_dist.benchmark.unlearning.sizes import NULLS
from nulls_dist.benchmark.unlearning.world import KEPT, read_groups
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.format import FACTS_FILE, SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import Router
from nulls_dist.routing.sink_sets import (
    count_sinks,
    count_slots,
    sinks_of,
    slots_of,
    with_spare_column,
)
from nulls_dist.unlearn.plan import live_router


def describe_sources(lab: Lab, seed: int) -> None:
    """Write the table of sources of a seed whose deletion is made, unless that is done."""
    lab.once(seed, "sources", partial(_describe, lab, seed))


def _describe(lab: Lab, seed: int) -> dict[str, Any]:
    groups = read_groups(lab, seed)
    table = SourceTable(lab.world(seed) / SOURCES_FILE)
    router = live_router(Checkpoint(lab.checkpoint(seed, NULLS, EXCISED)))
    deleted = np.array(sorted(groups.deleted), dtype=np.uint64)
    lost = share_of_sinks(router, table.source_ids, deleted)
    shared = np.max(
        [
            share_of_sinks(router, table.source_ids, deleted[row : row + 1])
            for row in range(len(deleted))
        ],
        axis=0,
    )
    facts = _count_shared_facts(lab, seed, set(groups.deleted))
    group_of = {source: group for group, sources in groups.items() for source in sources}
    rows = [
        {
            "seed": seed,
            "source_id": int(source_id),
            "title": title,
            "group": group_of.get(int(source_id), KEPT),
            "asked": int(source_id) in group_of,
            "lost_share": float(lost[row]),
            "max_shared": float(shared[row]),
            "shared_facts": facts.get(int(source_id), 0),
        }
        for row, (source_id, title) in enumerate(
            zip(table.source_ids, table.titles_of(table.source_ids.tolist()), strict=True)
        )
    ]
    tables.write_table(lab.table(tables.SOURCES, f"seed-{seed}"), tables.SOURCES, rows)
    return {"num_sources": len(rows)}


def share_of_sinks(router: Router, source_ids: U64Array, others: U64Array) -> tables.Floats:
    """Return which share of its (layer, sink) slots each source has in common with any of some.

    Args:
        router: without tombstones.
        source_ids: (S,) uint64.
        others: (D,) uint64.

    Returns:
        (S,) float64.
    """
    slots = slots_of(router, source_ids)
    common = count_slots(slots, with_spare_column(sinks_of(router, others)))
    shares: tables.Floats = common / np.maximum(1, count_sinks(slots))
    return shares


def _count_shared_facts(lab: Lab, seed: int, deleted: set[int]) -> dict[int, int]:
    """Return per source how many of its facts a deleted source states as well."""
    facts = pq.read_table(
        lab.world(seed) / FACTS_FILE,
        columns=["source_id", "kind", "member_ids"],
        filters=[("kind", "==", "shared"), ("phrasing", "==", 0)],
    )
    counts: dict[int, int] = {}
    for fact in facts.to_pylist():
        if deleted.intersection(fact["member_ids"]):
            counts[fact["source_id"]] = counts.get(fact["source_id"], 0) + 1
    return counts
