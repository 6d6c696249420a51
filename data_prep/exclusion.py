"""Documents that a build leaves out: sources on a list, and what was deleted from a model.

For the corpus of a model that is retrained without some sources, or continues after their deletion.
Decided when everything has been read, so that redirects are known.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.extract import Extracted
from data_prep.source_table import add_aliases
from data_prep.spool import Spooled
from nulls_dist.data.format import SOURCES_SCHEMA
from nulls_dist.data.source_table import SourceTable, write_source_table
from nulls_dist.sources import normalize_name, source_id_of
from nulls_dist.unlearn.resolve import resolve_all
from nulls_dist.unlearn.tombstones import open_deleted

LISTED: Final = "excluded"
DELETED: Final = "deleted source"
COPY: Final = "same text as a deleted source"
REASONS: Final = (LISTED, DELETED, COPY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """What is left out; nothing by default."""

    source_keys: frozenset[str] = frozenset()
    """Normalised keys of the sources."""
    text_digests: frozenset[bytes] = frozenset()
    """Digests of texts that no source may bring."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Documents left out, per reason."""
    num_text_bytes: int = 0
    """Length of those documents' texts."""

    def keeps(self, spooled: Spooled) -> bool:
        """Say whether a document stays."""
        return (
            spooled.text_digest not in self.text_digests
            and normalize_name(spooled.document.source_key) not in self.source_keys
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "source_keys": sorted(self.source_keys),
            "text_digests": sorted(digest.hex() for digest in self.text_digests),
            "skipped": self.skipped,
            "num_text_bytes": self.num_text_bytes,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Exclusion":
        """Return what `to_dict` described."""
        digests = frozenset(map(bytes.fromhex, content["text_digests"]))
        keys = frozenset(content["source_keys"])
        return cls(**{**content, "source_keys": keys, "text_digests": digests})


def find_excluded(
    found: Extracted, corpus: str, *, requests: Path | None, checkpoint: Path | None
) -> Exclusion:
    """Decide what a build leaves out.

    Args:
        found: what was read.
        corpus: name of the corpus, part of every source id.
        requests: list of sources to leave out; every line must name one.
        checkpoint: leaves out what was deleted from it: the sources themselves, sources that now
            have their names (`nulls_dist.unlearn.tombstones`), and every document with the text
            of one of these or with one that a tombstone names.

    Raises:
        InputError: a file cannot be read.
        IntegrityError: the checkpoint is damaged.
        UnknownSourceError: a line does not name one source.
    """
    names = pa.concat_tables([table.drop_columns(["doc_index"]) for table in found.names()])
    keys = names.column("source_key").to_pylist()
    ids = np.array([source_id_of(corpus, key) for key in keys], dtype=np.uint64)
    sources = _list_sources(found, names, ids)
    listed = [] if requests is None else resolve_all(sources, requests)
    deleted, texts = ([], set()) if checkpoint is None else _find_deleted(sources, checkpoint)
    is_listed = np.isin(ids, np.array(listed, dtype=np.uint64))
    is_deleted = np.isin(ids, np.array(deleted, dtype=np.uint64))
    digests = names.column("text_digest")
    forbidden = texts.union(digests.filter(pa.array(is_deleted)).to_pylist())
    is_copy = pc.is_in(digests, value_set=pa.array(forbidden, digests.type)).to_numpy()
    is_out = is_listed | is_deleted | is_copy
    counts = {
        LISTED: is_listed.sum(),
        DELETED: (is_deleted & ~is_listed).sum(),
        COPY: (is_copy & ~is_deleted & ~is_listed).sum(),
    }
    return Exclusion(
        source_keys=frozenset(
            normalize_name(keys[row]) for row in np.flatnonzero(is_listed | is_deleted)
        ),
        text_digests=frozenset(forbidden),
        skipped={reason: int(count) for reason, count in counts.items() if count},
        num_text_bytes=int(names.column("num_bytes").to_numpy()[is_out].sum()),
    )


def _find_deleted(sources: SourceTable, checkpoint: Path) -> tuple[list[int], set[bytes]]:
    """Return the sources read that were deleted, and the digests that the tombstones name."""
    deleted = open_deleted(checkpoint)
    return [entry.source_id for entry in deleted.find(sources)], set(deleted.text_digests)


def _list_sources(found: Extracted, names: pa.Table, ids: npt.NDArray[np.uint64]) -> SourceTable:
    """Return the sources that were read, with their aliases, as a table that resolves requests."""
    distinct, firsts = np.unique(ids, return_index=True)
    first = names.take(pa.array(firsts))
    known = {"source_id": pa.array(distinct), "source_key": first["source_key"]}
    known |= {name: first[name] for name in ("title", "url", "timestamp", "licence", "grouping")}
    columns = [
        known[entry.name] if entry.name in known else _blanks(entry.type, len(distinct))
        for entry in SOURCES_SCHEMA
    ]
    sources = pa.Table.from_arrays(columns, schema=SOURCES_SCHEMA)
    path = found.folder / "sources.parquet"
    write_source_table(path, add_aliases(sources, found.aliases())[0])
    return SourceTable(path)


def _blanks(kind: pa.DataType, length: int) -> pa.Array:
    blank: Any = [] if pa.types.is_list(kind) else 0
    return pa.array([blank] * length, kind)
