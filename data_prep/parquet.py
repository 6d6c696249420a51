"""Reads Parquet files a few row groups at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.documents import Item
from data_prep.input_files import InputFiles
from data_prep.rows import Fields, read_row
from nulls_dist.errors import InputError

SUFFIXES: Final = (".parquet",)
PART_BYTES: Final = 16 << 20
"""Unpacked size of the row groups that are read together, at least."""

_BATCH_ROWS: Final = 256
_OPTIONAL: Final = ("title", "url")


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Consecutive row groups of a file."""

    path: Path
    first: int
    end: int
    first_row: int
    """Number of the first row in the file, from 0."""
    fields: Fields

    def __call__(self) -> Iterator[Item]:
        """Yield the documents.

        Raises:
            InputError: the file is damaged, or a value is not text.
        """
        row = self.first_row
        try:
            with pq.ParquetFile(self.path) as file:
                columns = _columns(file.schema_arrow, self.fields)
                groups = range(self.first, self.end)
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns):
                    for values in batch.to_pylist():
                        row += 1
                        yield read_row(values, self.fields, f"{self.path}, row {row}")
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.path}: damaged after row {row} (or within {_BATCH_ROWS} rows): {error}"
            ) from error


def list_parts(files: InputFiles, fields: Fields) -> list[RowGroups]:
    """Divide files into parts of some row groups each.

    Raises:
        InputError: a file is not Parquet, or lacks a column that is read.
    """
    return [part for path in files.paths for part in _list_file(path, fields)]


def _list_file(path: Path, fields: Fields) -> list[RowGroups]:
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not readable as Parquet: {error}") from error
    _check_schema(path, schema, fields)
    parts: list[RowGroups] = []
    first = num_bytes = first_row = num_rows = 0
    for group in range(metadata.num_row_groups):
        num_bytes += metadata.row_group(group).total_byte_size
        num_rows += metadata.row_group(group).num_rows
        if num_bytes >= PART_BYTES or group == metadata.num_row_groups - 1:
            parts.append(RowGroups(path, first, group + 1, first_row, fields))
            first, num_bytes = group + 1, 0
            first_row = num_rows
    return parts


def _columns(schema: Any, fields: Fields) -> list[str]:
    wanted = dict.fromkeys((fields.key, fields.text, *_OPTIONAL))
    return [name for name in wanted if name in schema.names]


def _check_schema(path: Path, schema: Any, fields: Fields) -> None:
    for name, option in ((fields.text, "--text-field"), (fields.key, "--source-key")):
        if name not in schema.names:
            raise InputError(
                f"{path}: there is no column {name!r}, only {schema.names}; name it with {option}"
            )
