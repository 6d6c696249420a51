"""Reads a multistream dump in pieces: many bz2 streams of some pages each, listed in an index.

The first stream is the head of the XML, the last one its end; every other decodes and parses by
itself between the two. A line of the index is "offset:page id:title" for each page of the stream
that begins at the offset.
"""

import bz2
import contextlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from data_prep.documents import Item
from data_prep.mediawiki import (
    SiteInfo,
    local_name,
    parse_site,
    read_elements,
    read_page,
    unpack,
)
from nulls_dist.errors import InputError

MIN_PART_BYTES: Final = 256 << 10
MAX_PARTS: Final = 4096
"""Bound of the pieces, whatever the size of the dump."""

_INDEX_LINE: Final = re.compile(rb"([0-9]+):[0-9]+:.+", re.DOTALL)
_DUMP_NAME: Final = re.compile(r"(.*multistream)([0-9]*)\.xml(.*)")
_END: Final = b"</mediawiki>"


@dataclass(frozen=True, slots=True)
class StreamRange:
    """Consecutive streams of a dump."""

    path: Path
    head_end: int
    """Where the first stream ends."""
    begin: int
    end: int | None
    """None for the last range, which reads to the end of the file."""
    num_pages: int
    """What the index says."""

    def __call__(self) -> Iterator[Item]:
        """Yield the pages.

        Raises:
            InputError: the streams are damaged, or are not those of the index.
        """
        num_pages = 0
        site = SiteInfo()
        with self.path.open("rb") as file:
            stream = self._open(file)
            for element in read_elements(stream, ("siteinfo", "page"), self.path, file.tell):
                if local_name(element) == "siteinfo":
                    site = parse_site(element, self.path)
                    continue
                num_pages += 1
                yield read_page(element, site, self.path)
        if num_pages != self.num_pages:
            raise InputError(
                f"{self.path}: {num_pages} pages from byte {self.begin} to "
                f"{self.end or 'the end'}, but its index says {self.num_pages}; is it the index of "
                "this dump?"
            )

    def _open(self, file: IO[bytes]) -> "_Chain":
        parts: list[IO[bytes]] = [
            unpack(_Section(file, 0, self.head_end)),
            unpack(_Section(file, self.begin, self.end)),
        ]
        if self.end is not None:
            parts.append(io.BytesIO(_END))
        return _Chain(parts)


class _Section(io.RawIOBase):
    """The bytes of a file from one place to another."""

    def __init__(self, file: IO[bytes], begin: int, end: int | None) -> None:
        self._file = file
        self._place = begin
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        size = len(buffer) if self._end is None else min(len(buffer), self._end - self._place)
        self._file.seek(self._place)
        content = self._file.read(size)
        self._place += len(content)
        buffer[: len(content)] = content
        return len(content)


class _Chain:
    """Streams read one after the other."""

    def __init__(self, parts: list[IO[bytes]]) -> None:
        self._parts = parts

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end of the last stream."""
        while self._parts:
            if content := self._parts[0].read(size):
                return content
            self._parts.pop(0)
        return b""


def find_index(dump: Path) -> Path | None:
    """Return the index that lies beside a dump under the name that Wikimedia gives it."""
    match = _DUMP_NAME.fullmatch(dump.name)
    if match is None:
        return None
    index = dump.with_name(f"{match[1]}-index{match[2]}.txt{match[3]}")
    return index if index.is_file() else None


def list_ranges(dump: Path, index: Path) -> list[StreamRange]:
    """Divide a dump into ranges of its streams.

    Args:
        dump: multistream bz2.
        index: its index, bz2 or plain.

    Raises:
        InputError: the index is damaged or is not one of this dump.
    """
    num_bytes = dump.stat().st_size
    target = max(MIN_PART_BYTES, -(-num_bytes // MAX_PARTS))
    begins: list[int] = []
    counts: list[int] = []
    for offset, num_pages in _streams(index, num_bytes):
        if not begins or offset - begins[-1] >= target:
            begins.append(offset)
            counts.append(0)
        counts[-1] += num_pages
    if not begins:
        raise InputError(f"{index}: the index of {dump} is empty; download it again")
    ends = [*begins[1:], None]
    return [
        StreamRange(dump, begins[0], begin, end, num_pages)
        for begin, end, num_pages in zip(begins, ends, counts, strict=True)
    ]


def _streams(index: Path, dump_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield where each stream begins and how many pages it holds."""
    offset = num_pages = 0
    for number, line in enumerate(_index_lines(index), start=1):
        match = _INDEX_LINE.fullmatch(line)
        found = int(match[1]) if match else 0
        if found >= dump_bytes:
            raise InputError(
                f"{index}, line {number}: names byte {found} of a dump that has {dump_bytes}; the "
                "dump is cut off, then download it again, or this is not its index"
            )
        if not offset <= found or not found:
            raise InputError(
                f"{index}, line {number}: {line[:80]!r} is not offset:page id:title with an "
                "ascending offset; is it a dump's index?"
            )
        if found != offset and num_pages:
            yield offset, num_pages
            num_pages = 0
        offset = found
        num_pages += 1
    if num_pages:
        yield offset, num_pages


def _index_lines(index: Path) -> Iterable[bytes]:
    with index.open("rb") as file, contextlib.ExitStack() as unpacking:
        packed = index.suffix == ".bz2"
        try:
            yield from unpacking.enter_context(bz2.open(file)) if packed else file
        except (OSError, EOFError) as error:
            raise InputError(f"{index}: damaged: {error}; download it again") from error
