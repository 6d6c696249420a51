"""sources.txt: a list of sources that someone names, to delete, to leave out or to release.

One source per line: a title, alias or key as it is, or with the means named: `id:123`,
`title:...`, `url:...`, `key:...`. Lines that start with `#` and blank lines are skipped. Lines end
at a line feed only, so that titles may hold other separators of Unicode.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nulls_dist.errors import InputError
from nulls_dist.rows import Rows

MAX_LINE_BYTES: Final = 1 << 16
MAX_FILE_BYTES: Final = 1 << 28
"""What is made of its lines stays below Arrow's 2 GiB of strings."""
MAX_LINES: Final = 1 << 24
"""More than twice Wikipedia's articles; bounds memory, which grows with the lines, too."""

_PREFIX: Final = re.compile(r"(id|title|url|key):(.*)", re.DOTALL)
_SPELLED_ID: Final = re.compile(r"id:([0-9]{1,20})")
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Means(StrEnum):
    """By what a line names its source."""

    ANY = "any"
    ID = "id"
    TITLE = "title"
    URL = "url"
    KEY = "key"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One line that names a source."""

    line: int
    """Number of the line, from 1."""
    text: str
    """The line without surrounding white space."""
    means: Means
    name: str
    """The text without its prefix."""


_MEANS: Final = tuple(Means)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Requests(Rows[Request]):
    """Lines that name sources, as columns; N lines."""

    lines: npt.NDArray[np.int64]
    """(N,) numbers of the lines."""
    texts: Any
    """(N,) Arrow strings."""
    means: npt.NDArray[np.int8]
    """(N,) places in `Means`; `means_are` tells them."""
    names: Any
    """(N,) Arrow strings."""

    @classmethod
    def of(cls, requests: Iterable[Request]) -> "Requests":
        """Return requests as columns; themselves where they are."""
        if isinstance(requests, Requests):
            return requests
        entries = list(requests)
        return cls(
            lines=np.array([entry.line for entry in entries], dtype=np.int64),
            texts=pa.array([entry.text for entry in entries], pa.string()),
            means=np.array([_MEANS.index(entry.means) for entry in entries], dtype=np.int8),
            names=pa.array([entry.name for entry in entries], pa.string()),
        )

    def means_are(self, means: Means) -> npt.NDArray[np.bool_]:
        """Return which lines name a source by some means: (N,) bool."""
        return np.equal(self.means, _MEANS.index(means))

    def __len__(self) -> int:
        return len(self.lines)

    def span(self, begin: int, end: int) -> Iterator[Request]:
        """Make some of the requests."""
        columns = zip(
            self.lines[begin:end].tolist(),
            self.texts[begin:end].to_pylist(),
            self.means[begin:end].tolist(),
            self.names[begin:end].to_pylist(),
            strict=True,
        )
        for line, text, means, name in columns:
            yield Request(line=line, text=text, means=_MEANS[means], name=name)


def parse_request(text: str, line: int) -> Request:
    """Parse one line that is neither blank nor a comment."""
    text = text.strip()
    if prefixed := _PREFIX.fullmatch(text):
        return Request(line=line, text=text, means=Means(prefixed[1]), name=prefixed[2].strip())
    return Request(line=line, text=text, means=Means.ANY, name=text)


def spell_names(*, source_id: int, source_key: str, title: str, url: str) -> list[str]:
    """Return the lines that name a source with the means, the id first; an empty url has none."""
    names = ((Means.ID, source_id), (Means.KEY, source_key), (Means.TITLE, title), (Means.URL, url))
    return [f"{means}:{name}" for means, name in names if name != ""]


def read_ids(names: Iterable[str]) -> list[int]:
    """Return the ids among names that are spelled with their means."""
    found = (_SPELLED_ID.fullmatch(name) for name in names)
    return [int(match[1]) for match in found if match and int(match[1]) < 1 << 64]


def read_requests(path: Path) -> Requests:
    """Read the lines of a file, in order.

    Raises:
        InputError: the file is missing, not regular, too large, not UTF-8 text, or names no source.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; name a text file with one source per line")
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise InputError(f"{path} has {size} bytes, more than {MAX_FILE_BYTES}; cut it in several")
    content = path.read_bytes()
    if (num_lines := content.count(b"\n")) > MAX_LINES:
        raise InputError(f"{path} has {num_lines} lines, more than {MAX_LINES}; cut it in several")
    borders = _find_borders(content)
    if not _is_sound(content, borders):
        for line, (begin, end) in enumerate(pairwise(borders), 1):
            _check_line(content[begin:end], path, line)
    if content.startswith(codecs.BOM_UTF8):
        borders[0] = len(codecs.BOM_UTF8)
    buffers = [None, pa.py_buffer(borders), pa.py_buffer(content)]
    texts = pc.utf8_trim_whitespace(pa.Array.from_buffers(pa.string(), len(borders) - 1, buffers))
    is_skipped = pc.or_(pc.equal(texts, ""), pc.starts_with(texts, "#"))
    places = np.flatnonzero(~is_skipped.to_numpy(zero_copy_only=False))
    if not len(places):
        raise InputError(f"{path} names no source; write one per line")
    return _parse_texts(texts.take(pa.array(places)), places + 1)


def _parse_texts(texts: Any, lines: npt.NDArray[np.int64]) -> Requests:
    """Do what `parse_request` does, with texts that are stripped."""
    codes = np.zeros(len(texts), dtype=np.int8)
    names = texts
    for code, means in enumerate(_MEANS):
        if means is not Means.ANY:
            is_named = pc.starts_with(texts, f"{means}:")
            rest = pc.utf8_slice_codeunits(texts.filter(is_named), len(means) + 1)
            names = pc.replace_with_mask(names, is_named, pc.utf8_trim_whitespace(rest))
            codes[is_named.to_numpy(zero_copy_only=False)] = code
    return Requests(lines=lines, texts=texts, means=codes, names=names)


def _find_borders(content: bytes) -> npt.NDArray[np.int32]:
    """Return where each line begins, and where the last one ends."""
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n")) + 1
    rest = [len(content)] if content and not content.endswith(b"\n") else []
    parts = [np.array(part, dtype=np.int32) for part in ([0], ends, rest)]
    return np.concatenate(parts)


def _is_sound(content: bytes, borders: npt.NDArray[np.int32]) -> bool:
    """Say whether no line is refused, without a look at each."""
    if np.diff(borders).max(initial=0) > MAX_LINE_BYTES or b"\0" in content:
        return False
    num_line_ends = content.count(b"\r\n") + content.endswith(b"\r")
    if content.count(b"\r") != num_line_ends:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _check_line(content: bytes, path: Path, line: int) -> None:
    """Refuse a line that is no text."""
    if len(content) > MAX_LINE_BYTES:
        raise InputError(
            f"{path}, line {line}: longer than {MAX_LINE_BYTES} bytes; one source per line"
        )
    if line == 1 and content.startswith(_UTF16_MARKS):
        raise InputError(f"{path}, line {line}: the file is UTF-16; save it as UTF-8")
    if line == 1:
        content = content.removeprefix(codecs.BOM_UTF8)
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if b"\0" in content:
        raise InputError(f"{path}, line {line}: a NUL character; save the file as UTF-8 text")
    if b"\r" in content:
        raise InputError(
            f"{path}, line {line}: a carriage return inside; save with Unix or Windows line ends"
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {line}, byte {error.start + 1}: not UTF-8; save it as UTF-8"
        ) from error
