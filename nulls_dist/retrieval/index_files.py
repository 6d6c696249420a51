"""The prompt index on disk, and how it is built.

    manifest.json     format version, checksum of the source table, encoder, sizes; written last
    names.sqlite      names(id, title_id, hash, name), titles first; words, a full-text index of
                      them; terms, in how many names each word is
    source_ids.npy    (T,) uint64, of title 1, 2, ..., ascending
    vectors.npy       (T, D) int8, the titles' vectors times VECTOR_SCALE

T titles, D dimensions of the encoder.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from tqdm import tqdm

from nulls_dist import durable
from nulls_dist.data.source_table import SourceTable, strings_of
from nulls_dist.durable import new_directory, read_versioned_json
from nulls_dist.errors import InputError
from nulls_dist.retrieval.encoder import Encoder
from nulls_dist.unlearn.names import fold_titles

FORMAT_VERSION: Final = 1
MANIFEST_FILE: Final = "manifest.json"
NAMES_FILE: Final = "names.sqlite"
IDS_FILE: Final = "source_ids.npy"
VECTORS_FILE: Final = "vectors.npy"
VECTOR_SCALE: Final = 127.0

_SCHEMA: Final = """
pragma journal_mode = off;
pragma synchronous = off;
create table names(id integer primary key, title_id integer, hash integer, name text);
"""
_FULL_TEXT: Final = """
create index by_hash on names(hash);
create virtual table words using fts5(
    name, content='names', content_rowid='id', detail=none,
    tokenize="unicode61 remove_diacritics 2"
);
insert into words(words) values('rebuild');
insert into words(words) values('optimize');
create virtual table terms using fts5vocab(words, row);
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexManifest:
    """Contents of manifest.json."""

    sources_sha256: str
    """Of the source table."""
    encoder: str
    """Name of the encoder."""
    num_titles: int
    num_names: int
    """Titles and aliases."""
    format_version: int = FORMAT_VERSION


def build_index(
    table: SourceTable, out: Path, encoder: Encoder, *, deleted: Collection[int] = ()
) -> None:
    """Build the index of a source table, whole or not at all.

    Args:
        table: the sources.
        out: directory; must not exist.
        encoder: of the titles.
        deleted: sources that are left out.

    Raises:
        InputError: `out` exists.
        IntegrityError: the table is damaged.
    """
    gone = np.array(sorted(deleted), dtype=np.uint64)
    is_kept = np.isin(table.source_ids, gone, invert=True)
    title_ids = np.where(is_kept, np.cumsum(is_kept), 0)
    with new_directory(out) as root:
        np.save(root / IDS_FILE, table.source_ids[is_kept])
        with closing(sqlite3.connect(root / NAMES_FILE, isolation_level=None)) as names:
            names.executescript(_SCHEMA)
            names.execute("begin")
            _write_titles(table, names, root / VECTORS_FILE, encoder, title_ids)
            for rows in _name_rows(table, "aliases", title_ids):
                names.executemany("insert into names(title_id, hash, name) values(?, ?, ?)", rows)
            names.execute("commit")
            names.executescript(_FULL_TEXT)
            (num_names,) = names.execute("select count(*) from names").fetchone()
        manifest = IndexManifest(
            sources_sha256=durable.sha256_file(table.path),
            encoder=encoder.name,
            num_titles=int(is_kept.sum()),
            num_names=num_names,
        )
        durable.write_json(root / MANIFEST_FILE, asdict(manifest))


def read_manifest(root: Path) -> IndexManifest:
    """Read an index's manifest.

    Raises:
        InputError: `root` is not an index.
        IntegrityError: the manifest is damaged or of an unknown version.
    """
    path = root / MANIFEST_FILE
    if not path.is_file():
        raise InputError(f"{root} is not a prompt index: {MANIFEST_FILE} is missing; name another")
    known = {entry.name for entry in fields(IndexManifest)}
    return IndexManifest(**read_versioned_json(path, version=FORMAT_VERSION, names=known))


def name_hashes(folded: Any) -> list[int]:
    """Return the hash of each folded name: xxh3-64 of its UTF-8, as SQLite's signed integer."""
    hashes = [xxhash.xxh3_64_intdigest(name) for name in folded.cast("binary").to_pylist()]
    signed: list[int] = np.array(hashes, dtype=np.uint64).view(np.int64).tolist()
    return signed


def _write_titles(
    table: SourceTable,
    names: sqlite3.Connection,
    vectors_path: Path,
    encoder: Encoder,
    title_ids: npt.NDArray[np.int64],
) -> None:
    """Write the titles' names and vectors; title number n becomes row n - 1 of the vectors."""
    num_dimensions = encoder.encode([""]).shape[1]
    shape = (int(title_ids.max(initial=0)), num_dimensions)
    vectors = np.lib.format.open_memmap(vectors_path, mode="w+", dtype=np.int8, shape=shape)
    end = 0
    with tqdm(total=shape[0], desc="titles", unit="titles", disable=None) as progress:
        for rows in _name_rows(table, "title", title_ids):
            names.executemany("insert into names(title_id, hash, name) values(?, ?, ?)", rows)
            encoded = encoder.encode([name for _, _, name in rows])
            vectors[end : end + len(rows)] = np.rint(encoded * VECTOR_SCALE)
            end += len(rows)
            progress.update(len(rows))
    vectors.flush()


def _name_rows(
    table: SourceTable, column: str, title_ids: npt.NDArray[np.int64]
) -> Iterator[list[tuple[int, int, str]]]:
    """Yield the names in a column of the sources that are kept: title id, hash, name."""
    for begin, values in table.batches(column):
        strings, parents = strings_of(values)
        owners = title_ids[begin + parents]
        kept = pa.array(np.flatnonzero(owners))
        spelt = strings.take(kept)
        hashes = name_hashes(fold_titles(spelt))
        yield list(zip(owners[owners > 0].tolist(), hashes, spelt.to_pylist(), strict=True))
