"""What a tombstone binds: how a deleted source is known when it comes back.

By its id and the ids of sources that it took in as near-duplicates; by name, where a source has its
title or an alias of it as title, or is what its title redirects to; by text, where the corpus was
at hand when it was deleted. An alias of it that now redirects elsewhere tells nothing.

Names do not always tell sources apart. So a source of the checkpoint that stayed, and had the name
already when the other one was deleted, is another one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nulls_dist.checkpoint.format import SOURCES_FILE, Tombstone, read_manifest
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.source_table import SourceTable, open_source_table
from nulls_dist.durable import check_file
from nulls_dist.errors import IntegrityError, RefusedError
from nulls_dist.source_list import read_ids
from nulls_dist.unlearn.names import fold_titles

_REMEDY: Final = (
    "build a corpus without them (python -m data_prep.build --exclude-deleted CKPT) and continue "
    "with --resume CKPT in a new run directory"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Revenant:
    """A source that is a deleted one, or has its name."""

    source_id: int
    deleted_id: int
    """The source with the tombstone."""
    name: str | None
    """What both are called, as titles are compared; None where the id tells."""


class DeletedSources:
    """The deleted sources of a checkpoint.

    Attributes:
        text_digests: digest, 16 bytes, of each text that is known to be theirs -> source id.
    """

    def __init__(self, tombstones: Iterable[Tombstone], table: SourceTable) -> None:
        """Gather ids, names and texts.

        Args:
            tombstones: of the checkpoint.
            table: every source that it was trained on.
        """
        tombstones = list(tombstones)
        self._table = table
        self._ids = {entry.source_id: entry.source_id for entry in tombstones}
        self._titles: dict[str, int] = {}
        self._aliases: dict[str, int] = {}
        self.text_digests = {
            bytes.fromhex(digest): entry.source_id
            for entry in tombstones
            for digest in entry.text_digests
        }
        rows = table.table.filter(pa.array(np.isin(table.source_ids, _ids_of(self._ids))))
        ids = rows["source_id"].to_pylist()
        for source_id, title in zip(ids, _fold(rows["title"]), strict=True):
            self._titles.setdefault(title, source_id)
        names = rows["aliases"].combine_chunks()
        owners = [ids[row] for row in pc.list_parent_indices(names).to_pylist()]
        flat = names.flatten()
        for source_id, name, alias in zip(owners, flat.to_pylist(), _fold(flat), strict=True):
            self._aliases.setdefault(alias, source_id)
            for former in read_ids([name]):  # a near-duplicate that the source took in
                self._ids.setdefault(former, source_id)

    def find(self, sources: SourceTable) -> list[Revenant]:
        """Return the sources of a table that were deleted, by id or by name, ascending by id."""
        found: dict[int, Revenant] = {}
        for source_id in np.intersect1d(sources.source_ids, _ids_of(self._ids)).tolist():
            deleted_id = self._ids[source_id]
            found[source_id] = Revenant(source_id=source_id, deleted_id=deleted_id, name=None)
        for row, name, deleted_id in self._find_named(sources.table):
            source_id = int(sources.source_ids[row])
            if source_id not in found and name not in self._names_before(source_id):
                entry = Revenant(source_id=source_id, deleted_id=deleted_id, name=name)
                found[source_id] = entry
        return [found[source_id] for source_id in sorted(found)]

    def refuse(self, corpus: Corpus) -> None:
        """Refuse to train on a source that was deleted.

        Raises:
            IntegrityError: the corpus's source table is damaged.
            RefusedError: the corpus holds one, or one of the same name or with the same text.
        """
        sources = open_source_table(corpus.root, corpus.manifest)
        found = self.find(sources)
        same = [entry for entry in found if entry.name is None]
        if same:
            first = same[0].source_id
            raise RefusedError(
                f"corpus {corpus.root} holds {len(same)} source(s) that were deleted from the "
                f"checkpoint, first id:{first} ({sources.title_of(first)!r}); {_REMEDY}"
            )
        if found:
            first, deleted = found[0].source_id, found[0].deleted_id
            raise RefusedError(
                f"corpus {corpus.root} holds {len(found)} source(s) with the name of one that was "
                f"deleted from the checkpoint, first id:{first} ({sources.title_of(first)!r}): "
                f"{found[0].name!r} is a name of id:{deleted} ({self._table.title_of(deleted)!r}) "
                f"too; {_REMEDY}"
            )
        is_copy = has_text_of(corpus, self.text_digests)
        if is_copy.any():
            document = int(np.flatnonzero(is_copy)[0])
            first = int(corpus.source_ids[document])
            digest = corpus.table()["text_digest"][document].as_py()
            deleted = self.text_digests[digest]
            raise RefusedError(
                f"corpus {corpus.root} holds {is_copy.sum()} document(s) with exactly the text of "
                f"a source that was deleted from the checkpoint, first document "
                f"{corpus.doc_indices[document]} of id:{first} ({sources.title_of(first)!r}), a "
                f"text of id:{deleted} ({self._table.title_of(deleted)!r}); {_REMEDY}"
            )

    def _find_named(self, table: pa.Table) -> Iterator[tuple[int, str, int]]:
        """Yield row, name and deleted source for every name of a table that a deleted one has."""
        titles = table["title"].combine_chunks()
        yield from _matches(titles, np.arange(len(table)), self._aliases | self._titles)
        aliases = table["aliases"].combine_chunks()
        owners = pc.list_parent_indices(aliases).to_numpy()
        yield from _matches(aliases.flatten(), owners, self._titles)

    def _names_before(self, source_id: int) -> set[str]:
        """Return the names that a source that stayed had in the checkpoint; empty for others."""
        row = self._table.row_of(source_id)
        if row is None or source_id in self._ids:
            return set()
        entry = self._table.table.slice(row, 1)
        return {*_fold(entry["title"]), *_fold(entry["aliases"].combine_chunks().flatten())}


def open_deleted(checkpoint: Path) -> DeletedSources:
    """Return the deleted sources of a checkpoint, its table verified, without reading weights.

    Raises:
        InputError: `checkpoint` is none.
        IntegrityError: it is damaged.
    """
    manifest = read_manifest(checkpoint)
    record = next((file for file in manifest.files if file.path == SOURCES_FILE), None)
    if record is None:
        raise IntegrityError(f"{checkpoint}: its manifest does not list {SOURCES_FILE}")
    return DeletedSources(manifest.tombstones, SourceTable(check_file(checkpoint, record)))


def has_text_of(corpus: Corpus, digests: Iterable[bytes]) -> npt.NDArray[np.bool_]:
    """Say for each document of a corpus, (D,), whether its text is one of some."""
    wanted = pa.array(list(digests), pa.binary(16))
    if not len(wanted):
        return np.zeros(corpus.num_documents, dtype=np.bool_)
    found = pc.is_in(corpus.table()["text_digest"], value_set=wanted)
    return np.asarray(found.to_numpy(), dtype=np.bool_)


def _ids_of(source_ids: Iterable[int]) -> npt.NDArray[np.uint64]:
    return np.array(list(source_ids), dtype=np.uint64)


def _fold(names: Any) -> list[str]:
    folded: list[str] = fold_titles(names).to_pylist()
    return folded


def _matches(
    names: pa.Array, rows: npt.NDArray[np.int64], wanted: dict[str, int]
) -> Iterator[tuple[int, str, int]]:
    """Yield row, name as titles are compared, and owner, for the names that are wanted."""
    folded = fold_titles(names)
    is_wanted = pc.is_in(folded, value_set=pa.array([key for key in wanted if key], pa.string()))
    places = np.flatnonzero(is_wanted.to_numpy(zero_copy_only=False))
    for place, name in zip(places, folded.take(pa.array(places)).to_pylist(), strict=True):
        yield int(rows[place]), name, wanted[name]
