"""sources.parquet of a released model: one row per title, its id the index plus the vocabulary.

Nothing but the title is known of a source, so it is also its key.
"""

from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from nulls_dist.data.format import SOURCES_SCHEMA
from nulls_dist.errors import InputError
from nulls_dist.released.titles import read_titles
from nulls_dist.routing.reference import IdType
from nulls_dist.routing.router import buckets_of

_CHUNK_TITLES: Final = 1 << 16
_MAX_ID: Final[dict[IdType, int]] = {"int32": (1 << 31) - 1, "int64": (1 << 63) - 1}


def build_source_table(path: Path, *, vocab_size: int, id_dtype: IdType) -> pa.Table:
    """Return the sources of a released model, sorted by id.

    Args:
        path: the mapping from titles to indices, as `read_titles` takes it.
        vocab_size: index 0 has this id.
        id_dtype: integer type that every id must fit.

    Raises:
        InputError: the mapping cannot be read, holds an empty title, or one title or index twice,
            or an index that does not fit.
    """
    titles, indices = _read(path)
    largest = _MAX_ID[id_dtype] - vocab_size
    if len(indices) and int(indices.max()) > largest:
        raise InputError(
            f"{path}: index {int(indices.max())} is too large: {largest} is the last one whose id, "
            f"the index plus the vocabulary size ({vocab_size}), is an {id_dtype}"
        )
    order = np.argsort(indices, kind="stable")
    indices = indices[order]
    if (same := np.flatnonzero(indices[1:] == indices[:-1])).size:
        raise InputError(f"{path}: index {int(indices[same[0]])} occurs twice; ids must be unique")
    titles = titles.take(pa.array(order)).combine_chunks()
    if pc.count_distinct(titles).as_py() != len(titles):
        counts = titles.value_counts()
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise InputError(f"{path}: title {twice.as_py()!r} occurs twice; titles name sources")
    return _table(titles, indices, vocab_size)


def _read(path: Path) -> tuple[pa.ChunkedArray, npt.NDArray[np.int64]]:
    pairs = iter(tqdm(read_titles(path), desc="titles", unit="", disable=None))
    titles, indices = [], []
    while chunk := list(islice(pairs, _CHUNK_TITLES)):
        for title, index in chunk:
            if not title.strip() or not 0 <= index <= _MAX_ID["int64"]:
                raise InputError(
                    f"{path}: title {title!r} with index {index}: titles must not be empty, "
                    "indices must be whole numbers from 0"
                )
        try:
            titles.append(pa.array([title for title, _ in chunk], pa.string()))
        except UnicodeEncodeError as error:
            raise InputError(f"{path}: a title has no UTF-8 form: {error}") from error
        indices.append(np.array([index for _, index in chunk], dtype=np.int64))
    if not titles:
        raise InputError(f"{path}: holds no title")
    return pa.chunked_array(titles), np.concatenate(indices)


def _table(titles: pa.Array, indices: npt.NDArray[np.int64], vocab_size: int) -> pa.Table:
    num_sources = len(titles)
    source_ids = indices.astype(np.uint64) + np.uint64(vocab_size)
    unknown = pa.array(np.zeros(num_sources, dtype=np.uint64))
    nothing = pa.repeat(pa.scalar(""), num_sources)
    columns = {
        "source_id": pa.array(source_ids),
        "source_key": titles,
        "index": pa.array(indices.astype(np.uint64)),
        "title": titles,
        "aliases": pa.ListArray.from_arrays(
            np.zeros(num_sources + 1, dtype=np.int32), pa.array([], pa.string())
        ),
        "url": nothing,
        "revision": unknown,
        "timestamp": nothing,
        "licence": nothing,
        "grouping": nothing,
        "bucket": pa.array(buckets_of(source_ids, router_seed=0).astype(np.uint16)),
        "num_documents": pa.array(np.ones(num_sources, dtype=np.uint32)),
        "num_tokens": unknown,
    }
    return pa.table([columns[name] for name in SOURCES_SCHEMA.names], schema=SOURCES_SCHEMA)
