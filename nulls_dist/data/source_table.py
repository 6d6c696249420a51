"""sources.parquet: look-ups from names to ids and back, and tables of several corpora as one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nulls_dist.data.format import SOURCES_FILE, SOURCES_SCHEMA, CorpusManifest
from nulls_dist.durable import check_file
from nulls_dist.errors import IntegrityError

_BATCH_ROWS: Final = 1 << 17
_BUFFER_BYTES: Final = 1 << 20


class SourceTable:
    """One row per source, sorted by source_id; S sources. Only the ids are held in memory.

    Attributes:
        path: of the file.
        source_ids: (S,) uint64, ascending.
    """

    def __init__(self, path: Path) -> None:
        """Open a table.

        Raises:
            IntegrityError: the file is missing, damaged, unsorted or has another schema.
        """
        self.path = path
        with self._open() as file:
            if not file.schema_arrow.equals(SOURCES_SCHEMA):
                raise IntegrityError(f"{path}: schema differs from the format")
            ids = file.read(columns=["source_id"]).column("source_id").combine_chunks()
        self.source_ids: npt.NDArray[np.uint64] = ids.to_numpy()  # of chunks: imports pandas
        if np.any(self.source_ids[1:] <= self.source_ids[:-1]):
            raise IntegrityError(f"{path}: source ids are not in ascending order")

    def __len__(self) -> int:
        return len(self.source_ids)

    @cached_property
    def table(self) -> pa.Table:
        """All columns of `SOURCES_SCHEMA`, in memory from the first use on.

        Raises:
            IntegrityError: the file is damaged.
        """
        with self._open() as file:
            table = file.read()
            table.validate(full=True)  # Parquet does not say that its strings are UTF-8
            return table

    def batches(self, column: str) -> Iterator[tuple[int, Any]]:
        """Yield one column in pieces, each with the row it begins at.

        Raises:
            IntegrityError: the file is damaged.
        """
        begin = 0
        with self._open() as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column]):
                batch.validate(full=True)
                yield begin, batch.column(column)
                begin += len(batch)

    def rows_of(self, source_ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return the row of each source, -1 where there is none: (Q,) uint64 -> (Q,) int64."""
        if not len(self):
            return np.full(len(source_ids), -1, dtype=np.int64)
        rows = np.searchsorted(self.source_ids, source_ids).astype(np.int64)
        found = self.source_ids[np.minimum(rows, len(self) - 1)] == source_ids
        return np.where(found, rows, -1)

    def row_of(self, source_id: int) -> int | None:
        """Return the row of a source, or None."""
        row = int(self.rows_of(np.array([source_id], dtype=np.uint64))[0])
        return None if row < 0 else row

    def titles_of(self, source_ids: Sequence[int]) -> list[str]:
        """Return the titles of sources, or their ids in words where they are unknown."""
        ids = np.array(source_ids, dtype=np.uint64)
        rows = self.rows_of(ids)
        known = np.flatnonzero(rows >= 0)
        titles = [f"id:{number}" if row < 0 else "" for number, row in zip(ids, rows, strict=True)]
        for place, title in zip(known, self.read_rows("title", rows[known]), strict=True):
            titles[place] = title
        return titles

    def title_of(self, source_id: int) -> str:
        """Return the title of a source, or its id in words where it is unknown."""
        return self.titles_of([source_id])[0]

    def read_rows(self, column: str, rows: npt.NDArray[np.int64]) -> list[Any]:
        """Return one column's values in some rows, in their order."""
        values: list[Any] = self.take_rows(column, rows).to_pylist()
        return values

    def take_rows(self, column: str, rows: npt.NDArray[np.int64]) -> Any:
        """Return one column's values in some rows, in their order, as an Arrow array."""
        wanted, places = np.unique(rows, return_inverse=True)
        pieces = [pa.array([], SOURCES_SCHEMA.field(column).type)]
        for begin, values in self.batches(column) if len(wanted) else ():
            first, last = np.searchsorted(wanted, [begin, begin + len(values)])
            if last > first:
                pieces.append(values.take(pa.array(wanted[first:last] - begin)))
            if last == len(wanted):
                break
        return pa.concat_arrays(pieces).take(pa.array(places))

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:  # read, not mapped: mapped pages count as resident memory
            with pq.ParquetFile(self.path, buffer_size=_BUFFER_BYTES) as file:
                yield file
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{self.path}: not readable as Parquet: {error}") from error


def strings_of(values: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """Return the strings of an array, or those of its lists, each with its place in the array."""
    if pa.types.is_list(values.type):
        return values.flatten(), pc.list_parent_indices(values).to_numpy()
    return values, np.arange(len(values))


def open_source_table(root: Path, manifest: CorpusManifest) -> SourceTable:
    """Open the source table of a corpus, compared with its checksum.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    for record in manifest.files:
        if record.path == SOURCES_FILE:
            return SourceTable(check_file(root, record))
    raise IntegrityError(f"{root}: manifest lists no {SOURCES_FILE}")


def merge_sources(corpus: SourceTable, earlier: SourceTable) -> pa.Table | None:
    """Return the sources of a corpus and of those before it, sorted by id.

    Args:
        corpus: gives the rows of all its sources.
        earlier: gives the rows of the others, unchanged.

    Returns:
        None where the corpus has all sources.
    """
    is_left = np.isin(earlier.source_ids, corpus.source_ids, invert=True)
    if not is_left.any():
        return None
    both = pa.concat_tables([corpus.table, earlier.table.filter(pa.array(is_left))])
    return both.sort_by("source_id").combine_chunks()  # one chunk: equal rows give equal bytes


def number_sources(sources: pa.Table) -> pa.Table:
    """Replace the column `index` by each source's place in its order, from 0; sort by id."""
    sources = sources.sort_by("index")
    column = SOURCES_SCHEMA.get_field_index("index")
    places = pa.array(np.arange(len(sources), dtype=np.uint64))
    return sources.set_column(column, SOURCES_SCHEMA.field("index"), places).sort_by("source_id")


def write_source_table(path: Path, table: pa.Table) -> None:
    """Write a source table."""
    pq.write_table(table, path, compression="zstd")
