"""Where a source is: its id, bucket, expert, and whether it was deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nulls_dist.checkpoint.format import WEIGHTS_DIR
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data import format as corpus_format
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import check_file
from nulls_dist.errors import IntegrityError
from nulls_dist.source_list import parse_request
from nulls_dist.unlearn.plan import live_router, open_sources
from nulls_dist.unlearn.resolve import Resolution, resolve_requests


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePlace:
    """What a checkpoint or corpus knows of one requested name."""

    name: str
    outcome: str
    detail: str
    matched_by: str | None = None
    """title, alias, key, url or id."""
    source_id: int | None = None
    title: str = ""
    source_key: str = ""
    bucket: int | None = None
    state: str | None = None
    """live, suppressed or excised."""
    expert: int | None = None
    """None in a corpus, which knows no experts, and where the model has no sinks."""


def look_up(root: Path, names: Sequence[str]) -> list[SourcePlace]:
    """Look names up in a checkpoint or a corpus.

    Args:
        root: directory of either.
        names: each as a line of sources.txt.

    Raises:
        InputError: `root` is neither.
        IntegrityError: a file is damaged.
    """
    checkpoint = Checkpoint(root) if (root / WEIGHTS_DIR).is_dir() else None
    table = _corpus_sources(root) if checkpoint is None else open_sources(checkpoint)
    requests = [parse_request(name, line) for line, name in enumerate(names, start=1)]
    return [_place(table, checkpoint, entry) for entry in resolve_requests(table, requests)]


def _place(table: SourceTable, checkpoint: Checkpoint | None, found: Resolution) -> SourcePlace:
    known: dict[str, Any] = {}
    if found.source_id is not None:
        row = table.row_of(found.source_id)
        entry = table.table.slice(row, 1).to_pylist()[0]
        known = {name: entry[name] for name in ("source_id", "title", "source_key", "bucket")}
        known["state"] = "live"
    if checkpoint is not None and found.source_id is not None:
        if model_of(checkpoint).has_sinks:
            ids = np.array([found.source_id], dtype=np.uint64)
            known["expert"] = int(live_router(checkpoint).experts_of(ids)[0])
        grades = {entry.source_id: entry.grade for entry in checkpoint.manifest.tombstones}
        known["state"] = str(grades.get(found.source_id, "live"))
    return SourcePlace(
        name=found.request.text,
        outcome=found.outcome,
        detail=found.detail,
        matched_by=found.matched_by,
        **known,
    )


def _corpus_sources(root: Path) -> SourceTable:
    manifest = corpus_format.read_manifest(root)
    for record in manifest.files:
        if record.path == corpus_format.SOURCES_FILE:
            return SourceTable(check_file(root, record))
    raise IntegrityError(f"{root}: manifest lists no {corpus_format.SOURCES_FILE}")
