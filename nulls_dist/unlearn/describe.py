"""What a checkpoint holds of each source, as JSON-ready values.

The router's hash is the sha256 of its specification as JSON with sorted keys and without spaces;
the bucket table's, of its little-endian uint16 values; that of the private sources, where there are
some, of their ids, ascending, as little-endian uint64 values. Together they decide every source's
sinks.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nulls_dist import __version__
from nulls_dist.checkpoint.format import MANIFEST_FILE, CheckpointManifest, expert_of_file
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import sha256_file
from nulls_dist.routing.router import NO_SINK
from nulls_dist.unlearn.byte_ranges import locate_rows
from nulls_dist.unlearn.excise import Piece, pieces_of
from nulls_dist.unlearn.overlap import Overlap
from nulls_dist.unlearn.plan import live_router

FORMAT_VERSION: Final = 1


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


class Describer:
    """Describes one checkpoint; what holds for all its sources is worked out once.

    Attributes:
        checkpoint: the one described.
        table: its sources.
        router: its router, without tombstones.
        origin: which checkpoint this is, and by which router; part of every manifest.
    """

    def __init__(self, checkpoint: Checkpoint, table: SourceTable) -> None:
        """Look at a checkpoint.

        Raises:
            IntegrityError: its router does not fit its model.
        """
        manifest = checkpoint.manifest
        self.checkpoint = checkpoint
        self.table = table
        self.router = live_router(checkpoint)
        self.origin: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "checkpoint_manifest_sha256": sha256_file(checkpoint.root / MANIFEST_FILE),
            **hash_router(manifest),
        }
        self._model = model_of(checkpoint)
        self._private = set(manifest.private_sources)
        self._states = {entry.source_id: entry.grade.value for entry in manifest.tombstones}
        self._pieces: dict[str, list[Piece]] = {}

    def run(self) -> dict[str, Any]:
        """Return what holds for all sources."""
        manifest = self.checkpoint.manifest
        return self.origin | {
            "nulls_dist": __version__,
            "step": manifest.step,
            "router": manifest.router.to_dict(),
            "model": manifest.model,
            "corpus": manifest.corpus,
            "num_sources": len(self.table),
            "private_sources": list(manifest.private_sources),
            "tombstones": [
                {"source_id": entry.source_id, "grade": entry.grade, "seed": entry.seed}
                for entry in manifest.tombstones
            ],
            "files": [asdict(record) for record in manifest.files],
        }

    def routing(self, source_id: int) -> dict[str, Any]:
        """Return what the router and the source table say of one of the sources."""
        ids = np.array([source_id], dtype=np.uint64)
        entry = self.table.table.slice(self.table.row_of(source_id), 1).to_pylist()[0]
        sinks = self.router.active_sinks(ids)[:, 0]
        return {
            "source_id": source_id,
            "source_key": entry["source_key"],
            "bucket": entry["bucket"],
            "expert": int(self.router.experts_of(ids)[0]),
            "private": source_id in self._private,
            "sinks": [row[row != NO_SINK].tolist() for row in sinks],
        }

    def contents(self, routing: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of a source in this very checkpoint: its names, state and bytes.

        Raises:
            IntegrityError: a file of its expert is damaged.
        """
        source_id = routing["source_id"]
        row = self.table.row_of(source_id)
        return self._brief(source_id) | {
            "aliases": self.table.table.column("aliases")[row].as_py(),
            "files": self._locate(routing["expert"], [np.array(row) for row in routing["sinks"]]),
        }

    def source(self, source_id: int, overlap: Overlap) -> dict[str, Any]:
        """Return the manifest of a source.

        Args:
            source_id: one of the table's.
            overlap: of its sinks with others'.

        Raises:
            IntegrityError: a file of its expert is damaged.
        """
        routing = self.routing(source_id)
        return (
            self.origin
            | routing
            | self.contents(routing)
            | {
                "overlap": {
                    "num_slots": sum(map(len, routing["sinks"])),
                    "num_other_sources_of_expert": overlap.num_others,
                    "num_named": overlap.num_named,
                    "named": [self._brief(other) | {"num_slots": n} for other, n in overlap.named],
                    "largest": [
                        self._brief(other) | {"num_slots": n} for other, n in overlap.largest
                    ],
                    "num_twins": overlap.num_twins,
                    "twins": [self._brief(other) for other in overlap.twins],
                }
            }
        )

    def _brief(self, source_id: int) -> dict[str, Any]:
        state = self._states.get(source_id, "live")
        return {"source_id": source_id, "title": self.table.title_of(source_id), "state": state}

    def _locate(self, expert: int, sinks: Sequence[npt.NDArray[np.int64]]) -> list[dict[str, Any]]:
        """Return the bytes of some sinks of each layer in each file of their expert."""
        width = self._model.hidden_size
        return [
            {
                "path": file,
                "sha256": self.checkpoint.record(file).sha256,
                "tensors": [
                    stored.to_dict() for stored in locate_rows(self._pieces_of(file), width, sinks)
                ],
            }
            for file in self.checkpoint.files
            if expert_of_file(file) == expert
        ]

    def _pieces_of(self, file: str) -> list[Piece]:
        if file not in self._pieces:
            self._pieces[file] = list(pieces_of(self.checkpoint.tensors(file), self._model))
        return self._pieces[file]
