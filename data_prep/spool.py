"""Cleaned documents on disk, a file per part of the input: Arrow, so that names read without texts.

A spool file has one row per document, in reading order.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import xxhash

from data_prep.documents import Document
from nulls_dist.durable import replaced_file

_SCHEMA: Final = pa.schema(
    [
        ("source_key", pa.string()),
        ("doc_index", pa.uint32()),
        ("title", pa.string()),
        ("text", pa.large_string()),
        ("rev_id", pa.uint64()),
        ("timestamp", pa.string()),
        ("url", pa.string()),
        ("licence", pa.string()),
        ("grouping", pa.string()),
        ("text_digest", pa.binary(16)),
        ("num_bytes", pa.uint64()),  # of the text in UTF-8
    ]
)
_NAMES: Final = tuple(entry.name for entry in fields(Document))
_BATCH_BYTES: Final = 4 << 20
_BATCH_DOCUMENTS: Final = 1024


class Spooled(NamedTuple):
    """A document as it lies in a spool."""

    document: Document
    text_digest: bytes
    """xxh3-128 of the text in UTF-8, 16 bytes, most significant first."""
    num_bytes: int
    """Length of the text in UTF-8."""
    is_taken_in: bool = False
    """Whether the document was read as one of another source."""


class SpoolWriter:
    """Writes a spool file; memory does not grow with it."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._rows: list[dict[str, Any]] = []
        self._num_buffered = 0

    def add(self, document: Document) -> int:
        """Append a document; return the length of its text in UTF-8."""
        row: dict[str, Any] = {name: getattr(document, name) for name in _NAMES}
        text = document.text.encode()
        row |= {"text_digest": xxhash.xxh3_128_digest(text), "num_bytes": len(text)}
        self._rows.append(row)
        self._num_buffered += len(text)
        if self._num_buffered >= _BATCH_BYTES or len(self._rows) >= _BATCH_DOCUMENTS:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=_SCHEMA))
        self._rows, self._num_buffered = [], 0


@contextlib.contextmanager
def new_spool(path: Path) -> Iterator[SpoolWriter]:
    """Yield a writer of a spool file that appears when the block ends without an error."""
    with replaced_file(path) as temporary, pa.ipc.new_file(temporary, _SCHEMA) as file:
        writer = SpoolWriter(file)
        yield writer
        writer.flush()


def read_spool(path: Path, num_documents: int) -> Iterator[Spooled]:
    """Yield the first documents of a spool file."""
    remaining = num_documents
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            for row in reader.get_batch(number).slice(0, remaining).to_pylist():
                remaining -= 1
                digest, num_bytes = row.pop("text_digest"), row.pop("num_bytes")
                yield Spooled(Document(**row), digest, num_bytes)
            if not remaining:
                return


def read_spooled_names(path: Path, num_documents: int) -> pa.Table:
    """Return the columns of the first documents of a spool file, without their texts."""
    names = [name for name in _SCHEMA.names if name != "text"]
    with pa.memory_map(str(path)) as file:  # Arrow's own choice of columns would copy all of them
        return pa.ipc.open_file(file).read_all().select(names).slice(0, num_documents)
