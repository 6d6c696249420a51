"""What a checkpoint holds of each source: sinks, bytes of every file, neighbours in the pool.

run.json                   the router, the model, the corpus, deletions, checksums of all files
sources/SOURCE_ID.json     one named source
sinks.parquet              source_id, expert and sinks of every source; only when asked for

The router's hash is the sha256 of its specification as JSON with sorted keys and without spaces;
the bucket table's, of its little-endian uint16 values; that of the private sources, where there are
some, of their ids, ascending, as little-endian uint64 values. Together they decide every source's
sinks.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from nulls_dist import __version__
from nulls_dist.checkpoint.format import MANIFEST_FILE, CheckpointManifest, expert_of_file
from nulls_dist.checkpoint.shapes import check_has_sinks, model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import check_outside, new_directory, sha256_file, write_json
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import NO_SINK, Router
from nulls_dist.routing.sink_sets import cut_into_blocks
from nulls_dist.unlearn.byte_ranges import locate_rows
from nulls_dist.unlearn.overlap import Overlap, measure_overlaps
from nulls_dist.unlearn.plan import live_router

FORMAT_VERSION: Final = 1
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
    """Write the manifests of a checkpoint, whole or not at all.

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
    router = live_router(checkpoint)
    with new_directory(out) as partial:
        write_json(partial / RUN_FILE, describe_run(checkpoint, len(table)))
        if named:
            (partial / SOURCES_DIR).mkdir()
        for source_id, overlap in measure_overlaps(router, table.source_ids, named).items():
            content = describe_source(checkpoint, table, source_id, overlap)
            write_json(partial / SOURCES_DIR / f"{source_id}.json", content)
        if include_all:
            write_sinks(partial / SINKS_FILE, router, table.source_ids)


def describe_run(checkpoint: Checkpoint, num_sources: int) -> dict[str, Any]:
    """Return what holds for all sources."""
    manifest = checkpoint.manifest
    return _origin(checkpoint) | {
        "nulls_dist": __version__,
        "step": manifest.step,
        "router": manifest.router.to_dict(),
        "model": manifest.model,
        "corpus": manifest.corpus,
        "num_sources": num_sources,
        "private_sources": list(manifest.private_sources),
        "tombstones": [entry.to_dict() for entry in manifest.tombstones],
        "files": [asdict(record) for record in manifest.files],
    }


def describe_source(
    checkpoint: Checkpoint, table: SourceTable, source_id: int, overlap: Overlap
) -> dict[str, Any]:
    """Return everything the checkpoint holds of one source.

    Args:
        checkpoint: to describe.
        table: its sources.
        source_id: one of them.
        overlap: of its sinks with others'.
    """
    router = live_router(checkpoint)
    ids = np.array([source_id], dtype=np.uint64)
    expert = int(router.experts_of(ids)[0])
    sinks = [row[row != NO_SINK] for row in router.active_sinks(ids)[:, 0]]
    states = {entry.source_id: entry.grade.value for entry in checkpoint.manifest.tombstones}

    def describe(other: int) -> dict[str, Any]:
        state = states.get(other, "live")
        return {"source_id": other, "title": table.title_of(other), "state": state}

    entry = table.table.slice(table.row_of(source_id), 1).to_pylist()[0]
    return (
        _origin(checkpoint)
        | describe(source_id)
        | {name: entry[name] for name in ("source_key", "aliases", "bucket")}
        | {
            "expert": expert,
            "private": source_id in checkpoint.manifest.private_sources,
            "sinks": [row.tolist() for row in sinks],
            "files": _locate_in_files(checkpoint, expert, sinks),
            "overlap": {
                "num_slots": sum(map(len, sinks)),
                "num_other_sources_of_expert": overlap.num_others,
                "named": [describe(other) | {"num_slots": num} for other, num in overlap.named],
                "largest": [describe(other) | {"num_slots": num} for other, num in overlap.largest],
                "twins": [describe(other) for other in overlap.twins],
            },
        }
    )


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


def hash_router(manifest: CheckpointManifest) -> dict[str, str]:
    """Return the hashes of what decides every source's sinks."""
    spec = json.dumps(manifest.router.to_dict(), sort_keys=True, separators=(",", ":"))
    table = manifest.bucket_table.astype("<u2").tobytes()
    hashes = {
        "router_sha256": hashlib.sha256(spec.encode()).hexdigest(),
        "bucket_table_sha256": hashlib.sha256(table).hexdigest(),
    }
    if manifest.private_sources:
        private = np.array(manifest.private_sources, dtype="<u8").tobytes()
        hashes["private_sources_sha256"] = hashlib.sha256(private).hexdigest()
    return hashes


def _origin(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "checkpoint_manifest_sha256": sha256_file(checkpoint.root / MANIFEST_FILE),
    } | hash_router(checkpoint.manifest)


def _locate_in_files(
    checkpoint: Checkpoint, expert: int, sinks: Sequence[npt.NDArray[np.int64]]
) -> list[dict[str, Any]]:
    """Return the bytes of some sinks of each layer in each file of their expert."""
    model = model_of(checkpoint)
    return [
        {
            "path": file,
            "sha256": checkpoint.record(file).sha256,
            "tensors": [
                asdict(stored) for stored in locate_rows(checkpoint.tensors(file), model, sinks)
            ],
        }
        for file in checkpoint.files
        if expert_of_file(file) == expert
    ]


def _nested(sinks: npt.NDArray[np.int64]) -> pa.ListArray:
    """Return (S, L, K) sinks as S lists of L lists."""
    num_sources, num_layers, _ = sinks.shape
    is_sink = sinks != NO_SINK
    inner = np.append(np.int32(0), is_sink.sum(axis=2).cumsum(dtype=np.int32))
    outer = np.arange(num_sources + 1, dtype=np.int32) * num_layers
    values = pa.array(sinks[is_sink], pa.uint32())
    return pa.ListArray.from_arrays(outer, pa.ListArray.from_arrays(inner, values))
