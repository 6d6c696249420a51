"""Reads JSON Lines, plain, gzip or zstd: an object per line."""

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from data_prep.documents import Item
from data_prep.input_files import InputFiles
from data_prep.rows import MAX_TEXT_BYTES, Fields, read_row
from nulls_dist.errors import InputError

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst")
PART_BYTES: Final = 16 << 20

_BOM: Final = b"\xef\xbb\xbf"
_DAMAGE: Final = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """The lines of a file that begin in a range of bytes; a packed file is one range."""

    path: Path
    begin: int
    end: int | None
    """None reads to the end."""
    fields: Fields

    def __call__(self) -> Iterator[Item]:
        """Yield the documents.

        Raises:
            InputError: the file is damaged, or a line is not a JSON object in UTF-8.
        """
        with _open(self.path) as file:
            place = self.begin
            if place:
                file.seek(place - 1)
                place += len(file.readline()) - 1
            number = 0  # of the line, within this range
            try:
                while self.end is None or place < self.end:
                    line = file.readline(MAX_TEXT_BYTES + 1)
                    if not line:
                        return
                    number += 1
                    if content := line.removeprefix(_BOM if place == 0 else b"").strip():
                        yield self._read_line(content, number)
                    place += len(line)
            except _DAMAGE as error:
                raise InputError(
                    f"{self.path}: damaged after line {number}: {error}; is it complete?"
                ) from error

    def _read_line(self, line: bytes, number: int) -> Item:
        try:
            if len(line) > MAX_TEXT_BYTES:
                raise ValueError(f"longer than {MAX_TEXT_BYTES} bytes")
            row: Any = json.loads(line.decode("utf-8"))
            if not isinstance(row, dict):
                raise ValueError(f"{type(row).__name__} is not an object")
            return read_row(row, self.fields, "")
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{self._place(number)}: not a JSON object in UTF-8: {error}; one object per line, "
                f'as {{"id": 1, "{self.fields.text}": "..."}}'
            ) from error
        except InputError as error:
            raise InputError(f"{self._place(number)}{error}") from error

    def _place(self, number: int) -> str:
        """Return file and line of the n-th line of this range; the lines before it are counted."""
        before = 0
        if self.begin:
            with self.path.open("rb") as file:
                num_left = self.begin
                while chunk := file.read(min(num_left, 1 << 20)):
                    num_left -= len(chunk)
                    before += chunk.count(b"\n")
                file.seek(self.begin - 1)
                before += file.read(1) != b"\n"  # a line that began before this range
        return f"{self.path}, line {before + number}"


def list_parts(files: InputFiles, fields: Fields) -> list[JsonLines]:
    """Divide files into parts: plain ones by bytes, packed ones not at all."""
    parts: list[JsonLines] = []
    for path in files.paths:
        if path.suffix in (".gz", ".zst"):
            parts.append(JsonLines(path, 0, None, fields))
            continue
        size = path.stat().st_size
        begins = range(0, size, PART_BYTES)
        parts += [JsonLines(path, begin, begin + PART_BYTES, fields) for begin in begins]
    return parts


def _open(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    if path.suffix == ".gz":
        unpacked: Any = gzip.open(path, "rb")  # noqa: SIM115  # the caller closes it
        return cast("BinaryIO", unpacked)
    if path.suffix == ".zst":
        return cast("BinaryIO", io.BufferedReader(pa.input_stream(str(path), compression="zstd")))
    return path.open("rb")
