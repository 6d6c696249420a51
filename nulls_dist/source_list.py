"""sources.txt: a list of sources that someone names, to delete, to leave out or to release.

One source per line: a title, alias or key as it is, or with the means named: `id:123`,
`title:...`, `url:...`, `key:...`. Lines that start with `#` and blank lines are skipped. Lines end
at a line feed only, so that titles may hold other separators of Unicode.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from nulls_dist.errors import InputError

MAX_LINE_BYTES: Final = 1 << 16

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


def read_requests(path: Path) -> list[Request]:
    """Read the lines of a file, in order.

    Raises:
        InputError: the file is missing, not regular, not UTF-8 text, or names no source.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; name a text file with one source per line")
    requests: list[Request] = []
    with path.open("rb") as file:
        line = 0
        while content := file.readline(MAX_LINE_BYTES + 1):
            line += 1
            text = _decode(content, path, line).strip()
            if text and text[0] != "#":
                requests.append(parse_request(text, line))
    if not requests:
        raise InputError(f"{path} names no source; write one per line")
    return requests


def _decode(content: bytes, path: Path, line: int) -> str:
    """Return a line's text without its end."""
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
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {line}, byte {error.start + 1}: not UTF-8; save it as UTF-8"
        ) from error
