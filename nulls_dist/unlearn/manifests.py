"""Manifests: files that say what a checkpoint holds of each source, and can ask for its deletion.

run.json                   the router, the model, the corpus, deletions, checksums of all files
sources/SOURCE_ID.json     one named source: its sinks, their bytes in every file, who shares them
sinks.parquet              source_id, expert and sinks of every source; only when asked for

`docs/run_manifest.schema.json` and `docs/source_manifest.schema.json` define the first two.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from nulls_dist.checkpoint.shapes import check_has_sinks
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import check_outside, new_directory, write_bytes, write_json
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import NO_SINK, Router
from nulls_dist.routing.sink_sets import cut_into_blocks
from nulls_dist.unlearn.describe import Describer
from nulls_dist.unlearn.overlap import measure_overlaps
from nulls_dist.unlearn.signing import canonical_bytes

RUN_FILE: Final = "run.json"
SOURCES_DIR: Final = "sources"
SINKS_FILE: Final = "sinks.parquet"
SINKS_SCHEMA: Final = pa.schema(
    [
        pa.field("source_id", pa.uint64(), nullable=False),
        pa.field("expert", pa.uint32(), nullable=False),
        pa.field("sinks", pa.list_(pa.list_(pa.uint32())), nullable=False),
    ],
    metadata={"sinks": "active sinks per layer, numbered inside the expert"},
)


def write_manifests(
    checkpoint: Checkpoint,
    table: SourceTable,
    out: Path,
    *,
    named: Collection[int] = (),
    include_all: bool = False,
) -> None:
    """Write the manifests of a checkpoint, whole or not at all, one in memory at a time.

    Args:
        checkpoint: to describe.
        table: its sources.
        out: a directory that does not exist yet, outside the checkpoint.
        named: sources that get a manifest of their own; deleted ones too.
        include_all: list the sinks of all sources.

    Raises:
        InputError: `out` exists or lies inside the checkpoint, or the model has no sinks.
        IntegrityError: a file of the checkpoint is damaged.
    """
    check_has_sinks(checkpoint)
    check_outside(out, checkpoint.root)
    describer = Describer(checkpoint, table)
    router = describer.router
    with new_directory(out) as partial:
        write_json(partial / RUN_FILE, describer.run())
        if named:
            (partial / SOURCES_DIR).mkdir()
        overlaps = measure_overlaps(router, table.source_ids, named)
        for source_id, overlap in tqdm(overlaps, "manifests", total=len(named), disable=None):
            content = describer.source(source_id, overlap)
            # Without indentation: a third of the size, and written several times as fast.
            path = partial / SOURCES_DIR / f"{source_id}.json"
            write_bytes(path, canonical_bytes(content) + b"\n")
        if include_all:
            write_sinks(partial / SINKS_FILE, router, table.source_ids)


def write_sinks(path: Path, router: Router, source_ids: U64Array) -> None:
    """Write the sinks of all sources, a block in memory at a time.

    Args:
        path: of the Parquet file.
        router: without tombstones.
        source_ids: (S,) uint64.
    """
    with pq.ParquetWriter(path, SINKS_SCHEMA) as writer:
        for ids in tqdm(cut_into_blocks(router, source_ids), desc="sinks", disable=None):
            sinks = router.active_sinks(ids).swapaxes(0, 1)
            columns = [ids, router.experts_of(ids).astype(np.uint32), _nested(sinks)]
            writer.write_table(pa.table(columns, schema=SINKS_SCHEMA))


def _nested(sinks: npt.NDArray[np.int64]) -> pa.ListArray:
    """Return (S, L, K) sinks as S lists of L lists."""
    num_sources, num_layers, _ = sinks.shape
    is_sink = sinks != NO_SINK
    inner = np.append(np.int32(0), is_sink.sum(axis=2).cumsum(dtype=np.int32))
    outer = np.arange(num_sources + 1, dtype=np.int32) * num_layers
    values = pa.array(sinks[is_sink], pa.uint32())
    return pa.ListArray.from_arrays(outer, pa.ListArray.from_arrays(inner, values))
