"""sources.parquet: look-ups from names to ids and back, and tables of several corpora as one."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.data.format import SOURCES_FILE, SOURCES_SCHEMA, CorpusManifest
from nulls_dist.durable import check_file
from nulls_dist.errors import IntegrityError


class SourceTable:
    """One row per source, sorted by source_id; S sources.

    Attributes:
        source_ids: (S,) uint64, ascending.
        table: the columns of `SOURCES_SCHEMA`.
    """

    def __init__(self, path: Path) -> None:
        """Read a table.

        Raises:
            IntegrityError: the file is missing, damaged, unsorted or has another schema.
        """
        try:
            self.table: pa.Table = pq.read_table(path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error
        if not self.table.schema.equals(SOURCES_SCHEMA):
            raise IntegrityError(f"{path}: schema differs from the format")
        self.source_ids: npt.NDArray[np.uint64] = self.table.column("source_id").to_numpy()
        if np.any(self.source_ids[1:] <= self.source_ids[:-1]):
            raise IntegrityError(f"{path}: source ids are not in ascending order")

    def __len__(self) -> int:
        return len(self.source_ids)

    def row_of(self, source_id: int) -> int | None:
        """Return the row of a source, or None."""
        row = int(np.searchsorted(self.source_ids, np.uint64(source_id)))
        found = row < len(self) and int(self.source_ids[row]) == source_id
        return row if found else None

    def title_of(self, source_id: int) -> str:
        """Return the title of a source, or its id in words where it is unknown."""
        row = self.row_of(source_id)
        return f"id:{source_id}" if row is None else str(self.table.column("title")[row])


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
