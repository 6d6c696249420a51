"""Arrow files that are none, of another schema, or whose values break the format of a corpus."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.benchmark.faults.hostile.case import Case
from nulls_dist.benchmark.faults.hostile.ground import MANIFEST, Change, Ground, edit, forge
from nulls_dist.data.format import partition_file
from nulls_dist.data.partition import batch_metadata
from nulls_dist.errors import IntegrityError
from nulls_dist.sources import NO_SOURCE

_FILE: Final = partition_file(0)
_MAGIC: Final = b"ARROW1"
_BAD: Final = IntegrityError.exit_code

Columns = dict[str, Any]
"""Arrow arrays of one record batch by name."""


def arrow_cases(ground: Ground) -> Iterator[Case]:
    """Yield every file in the place of a corpus's first partition."""
    for what, change in (_no_arrow() | _other_schemas() | _wrong_values()).items():
        yield ground.on_corpus(f"{_FILE}: {what}", change, _BAD, ("part-00000.arrow",))


def _no_arrow() -> dict[str, Change]:
    def bytes_of(make: Callable[[bytes], bytes]) -> Change:
        return lambda root: forge(root, _FILE, make((root / _FILE).read_bytes()))

    def footer_of(length: int) -> Change:
        words = length.to_bytes(4, "little", signed=True)
        return bytes_of(lambda content: content[: -len(_MAGIC) - 4] + words + _MAGIC)

    def as_parquet(root: Path) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.ipc.open_file(root / _FILE).read_all(), sink)
        forge(root, _FILE, sink.getvalue().to_pybytes())

    def as_stream(root: Path) -> None:
        table = pa.ipc.open_file(root / _FILE).read_all()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        forge(root, _FILE, sink.getvalue().to_pybytes())

    noise = np.random.default_rng(0).bytes(1000)
    return {
        "empty": bytes_of(lambda _: b""),
        "its magic alone": bytes_of(lambda _: _MAGIC),
        "its first half": bytes_of(lambda content: content[: len(content) // 2]),
        "noise between magics": bytes_of(lambda _: _MAGIC + b"\0\0" + noise + _MAGIC),
        "a footer longer than the file": footer_of(1 << 30),
        "a footer of negative length": footer_of(-8),
        "Arrow's stream format": as_stream,
        "Parquet": as_parquet,
    }


def _other_schemas() -> dict[str, Change]:
    def cast(name: str, kind: Any) -> Change:
        return _rewritten(lambda columns: columns.update({name: columns[name].cast(kind)}))

    def reorder(columns: Columns) -> None:
        columns["source_id"] = columns.pop("source_id")

    return {
        "a column missing": _rewritten(lambda columns: columns.pop("rev_id")),
        "a column more": _rewritten(lambda columns: columns.update(more=columns["rev_id"])),
        "columns in another order": _rewritten(reorder),
        "signed ids": cast("doc_index", pa.int32()),
        "ids as text": cast("source_id", pa.string()),
        "ids that may be missing": _rewritten(lambda _: None, is_nullable=True),
        "ids as a dictionary": _rewritten(
            lambda columns: columns.update(source_id=columns["source_id"].dictionary_encode())
        ),
        "long lists": cast("tokens", pa.large_list(pa.uint16())),
        "wider tokens": cast("tokens", pa.list_(pa.uint32())),
    }


def _wrong_values() -> dict[str, Change]:
    def replaced(name: str, make: Callable[[Any], Any]) -> Change:
        return _rewritten(lambda columns: columns.update({name: make(columns[name])}))

    def at(row: int, value: Any) -> Callable[[Any], Any]:
        """Return an array with one value changed."""

        def change(array: Any) -> Any:
            values = array.to_pylist()
            values[row] = value
            return pa.array(values, array.type)

        return change

    def offsets(place: int, value: int) -> Change:
        """Arrow does not write such offsets: they are changed in the file."""

        def change(root: Path) -> None:
            tokens = pa.ipc.open_file(root / _FILE).get_batch(0).column("tokens")
            lying = tokens.offsets.to_numpy().copy()
            content, true = (root / _FILE).read_bytes(), lying.tobytes()
            lying[place] = value
            assert true in content
            forge(root, _FILE, content.replace(true, lying.tobytes()))

        return change

    def row_twice(array: Any) -> Any:
        return array.take(pa.array([0, *range(len(array))][: len(array)]))

    def all_rows_twice(columns: Columns) -> None:
        columns |= {name: row_twice(array) for name, array in columns.items()}

    return {
        "a missing id": replaced("source_id", at(0, None)),
        "missing tokens": replaced("tokens", at(0, None)),
        "a missing token": replaced("tokens", at(0, [None, 5, 0])),
        "a document without tokens": replaced("tokens", at(0, [])),
        "a token beyond the vocabulary": replaced("tokens", at(0, [65_535, 0])),
        "a document that does not end": replaced("tokens", at(0, [5, 5])),
        "the id of padding": replaced("source_id", at(-1, NO_SOURCE)),
        "ids in descending order": replaced("source_id", lambda ids: ids[::-1]),
        "a document twice": _rewritten(all_rows_twice),
        "offsets beyond the tokens": offsets(-1, 1 << 30),
        "offsets backwards": offsets(1, -5),
        "a batch of no rows": _rewritten(
            lambda columns: columns.update({name: array[:0] for name, array in columns.items()})
        ),
        "a footer that is not UTF-8": _rewritten(lambda _: None, footer={b"\xff": b"\xff"}),
    }


def _rewritten(
    change: Callable[[Columns], object],
    *,
    is_nullable: bool = False,
    footer: dict[bytes, bytes] | None = None,
) -> Change:
    """Return a change of the columns of a partition's only batch, all counts made to agree."""

    def rewrite(root: Path) -> None:
        reader = pa.ipc.open_file(root / _FILE)
        batch, metadata = reader.get_batch_with_custom_metadata(0)
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        change(columns)
        fields = [pa.field(name, array.type, is_nullable) for name, array in columns.items()]
        changed = pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, changed.schema, metadata=footer or reader.metadata) as writer:
            writer.write_batch(changed, custom_metadata=_metadata_of(columns) or dict(metadata))
        forge(root, _FILE, sink.getvalue().to_pybytes())
        edit(root / MANIFEST, lambda manifest: _count(manifest, columns, batch))

    return rewrite


def _metadata_of(columns: Columns) -> dict[str, str] | None:
    """Return what a batch must say of itself, None where its columns do not say it."""
    ids, tokens = columns["source_id"], columns["tokens"]
    is_plain = ids.type == pa.uint64() and tokens.type == pa.list_(pa.uint16())
    if not is_plain or not len(ids) or ids.null_count or tokens.flatten().null_count:
        return None
    offsets = tokens.offsets.to_numpy()
    return batch_metadata(ids.to_numpy(), tokens.values.to_numpy()[offsets[0] : offsets[-1]])


def _count(manifest: dict[str, Any], columns: Columns, before: Any) -> None:
    """Make the manifest's counts those of the columns."""
    num_rows = len(columns["source_id"])
    num_tokens = int(np.diff(columns["tokens"].offsets.to_numpy()).sum())
    (record,) = (record for record in manifest["files"] if record["path"] == _FILE)
    manifest["num_documents"] += num_rows - before.num_rows
    manifest["num_tokens"] += num_tokens - record["num_tokens"]
    record.update(num_rows=num_rows, num_tokens=num_tokens)
