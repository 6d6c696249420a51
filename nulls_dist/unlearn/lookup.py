"""Where a source is: its id, bucket, expert, whether it was deleted, what keeps its text alive."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nulls_dist.checkpoint.format import WEIGHTS_DIR
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data import format as corpus_format
from nulls_dist.data.duplicates import DuplicateTable, NearDuplicate, Policy, open_duplicates
from nulls_dist.data.source_table import SourceTable, open_source_table
from nulls_dist.routing.reference_router import ReferenceRouter
from nulls_dist.routing.router import Router
from nulls_dist.unlearn.plan import live_router, open_sources
from nulls_dist.unlearn.resolutions import Resolution
from nulls_dist.unlearn.resolve import resolve_names

_Facts = Callable[[dict[str, Any]], dict[str, Any]]
"""From a source's row to what else a root knows of it."""


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
    private: bool | None = None
    """Whether its sinks are its own alone; None where there is no expert."""
    partition: int | None = None
    """File of the corpus that holds the documents; None in a checkpoint, as what follows."""
    num_documents: int | None = None
    num_tokens: int | None = None
    near_duplicates: list[NearDuplicate] | None = None
    """Other sources that hold a text of this one, the most similar first; None where the corpus
    was built without looking for them."""
    num_twins: int | None = None
    """Other sources of the checkpoint to which the router gives the very same sinks. Deleting one
    deletes all of them. None where expert is, and where the router is that of our own training."""


def look_up(root: Path, names: Sequence[str]) -> list[SourcePlace]:
    """Look names up in a checkpoint or a corpus.

    Args:
        root: directory of either.
        names: each as a line of sources.txt.

    Raises:
        InputError: `root` is neither.
        IntegrityError: a file is damaged.
    """
    facts: _Facts
    if (root / WEIGHTS_DIR).is_dir():
        checkpoint = Checkpoint(root)
        table = open_sources(checkpoint)
        facts = partial(_facts_of_checkpoint, checkpoint, table)
    else:
        manifest = corpus_format.read_manifest(root)
        table = open_source_table(root, manifest)
        facts = partial(_facts_of_corpus, table, manifest, open_duplicates(root, manifest))
    return [_place(table, facts, entry) for entry in resolve_names(table, names)]


def _place(table: SourceTable, facts: _Facts, found: Resolution) -> SourcePlace:
    known: dict[str, Any] = {}
    if found.source_id is not None:
        row = table.row_of(found.source_id)
        entry = table.table.slice(row, 1).to_pylist()[0]
        known = {name: entry[name] for name in ("source_id", "title", "source_key", "bucket")}
        known |= facts(entry)
    return SourcePlace(
        name=found.request.text,
        outcome=found.outcome,
        detail=found.detail,
        matched_by=found.matched_by,
        **known,
    )


def _facts_of_checkpoint(
    checkpoint: Checkpoint, table: SourceTable, entry: dict[str, Any]
) -> dict[str, Any]:
    source_id = entry["source_id"]
    grades = {tombstone.source_id: tombstone.grade for tombstone in checkpoint.manifest.tombstones}
    known: dict[str, Any] = {"state": str(grades.get(source_id, "live"))}
    if model_of(checkpoint).has_sinks:
        known["private"] = source_id in checkpoint.manifest.private_sources
        known |= _route(live_router(checkpoint), table, source_id)
    return known


def _route(router: Router, table: SourceTable, source_id: int) -> dict[str, int]:
    ids = np.array([source_id], dtype=np.uint64)
    route = {"expert": int(router.experts_of(ids)[0])}
    if isinstance(router, ReferenceRouter):
        same = router.mask_ids(table.source_ids) == router.mask_ids(ids)
        route["num_twins"] = int(same.sum()) - 1
    return route


def _facts_of_corpus(
    table: SourceTable,
    manifest: corpus_format.CorpusManifest,
    pairs: DuplicateTable | None,
    entry: dict[str, Any],
) -> dict[str, Any]:
    near = None
    if pairs is not None:  # none are left where they were grouped or dropped
        near = pairs.of_source(entry["source_id"]) if pairs.policy is Policy.REPORT else []
        near = [replace(other, title=table.title_of(other.source_id)) for other in near]
    return {
        "state": "live",
        "partition": corpus_format.partition_of(entry["bucket"], manifest.num_partitions),
        "num_documents": entry["num_documents"],
        "num_tokens": entry["num_tokens"],
        "near_duplicates": near,
    }
