"""A dump of any size: the pages of a real one over and over, each time with other titles and ids.

Packed as Wikimedia packs its dumps, many bz2 streams with an index, so that a build can divide it.
"""

import bz2
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from nulls_dist.errors import InputError

PAGES_PER_STREAM: Final = 20
"""Fewer than Wikimedia's 100, so that a small dump has as many pieces as a large one has."""

_BZ2_MAGIC: Final = b"BZh"
_PAGE: Final = re.compile(rb"<page>.*?</page>\s*", re.S)
_TITLE: Final = re.compile(rb"<title>(.*?)</title>", re.S)
_ID: Final = re.compile(rb"<id>([0-9]+)</id>")
_REDIRECT: Final = re.compile(rb'<redirect title="([^"]*)"')
_END: Final = b"</mediawiki>\n"


@dataclass(frozen=True, slots=True)
class PageSource:
    """The pages of a small dump as bytes of XML.

    Attributes:
        head: everything before the first page.
        pages: each of them.
        id_step: more than the largest page id.
    """

    head: bytes
    pages: tuple[bytes, ...]
    id_step: int

    @property
    def num_bytes(self) -> int:
        """Size of one copy of the pages."""
        return sum(map(len, self.pages))

    def copies(self, num_copies: int) -> Iterator[bytes]:
        """Yield the pages again and again; of copy 0 they are unchanged."""
        for copy in range(num_copies):
            for page in self.pages:
                yield self._rename(page, copy) if copy else page

    def _rename(self, page: bytes, copy: int) -> bytes:
        suffix = b" (copy %d)" % copy
        page = _TITLE.sub(lambda match: b"<title>%s%s</title>" % (match[1], suffix), page, count=1)
        page = _REDIRECT.sub(lambda match: match[0][:-1] + suffix + b'"', page, count=1)
        return _ID.sub(
            lambda match: b"<id>%d</id>" % (int(match[1]) + copy * self.id_step), page, count=1
        )


def read_pages(dump: Path) -> PageSource:
    """Read a dump of a few megabytes.

    Args:
        dump: MediaWiki XML, bz2 or plain.

    Raises:
        InputError: it is damaged or has no pages with title and id.
    """
    content = dump.read_bytes()
    try:
        content = bz2.decompress(content) if content.startswith(_BZ2_MAGIC) else content
    except (OSError, ValueError) as error:
        raise InputError(f"{dump}: damaged: {error}; download it again") from error
    pages = tuple(_PAGE.findall(content))
    ids = [int(match[1]) for page in pages if (match := _ID.search(page)) and _TITLE.search(page)]
    if not pages or len(ids) < len(pages):
        raise InputError(f"{dump}: no pages with title and id to repeat; give an XML dump")
    return PageSource(content[: content.index(b"<page>")], pages, max(ids) + 1)


def write_repeated_dump(source: PageSource, path: Path, num_copies: int) -> None:
    """Write a multistream dump and its index; memory does not grow with them.

    Args:
        source: the pages.
        path: of the dump, "NAME-multistream.xml.bz2"; the index goes beside it.
        num_copies: how often the pages occur.
    """
    index_path = path.with_name(path.name.replace(".xml", "-index.txt"))
    with path.open("wb") as file, bz2.open(index_path, "wb") as index:
        file.write(bz2.compress(source.head))
        held: list[bytes] = []
        for page in source.copies(num_copies):
            held.append(page)
            if len(held) == PAGES_PER_STREAM:
                _write_stream(held, file, index)
        if held:
            _write_stream(held, file, index)
        file.write(bz2.compress(_END))


def _write_stream(held: list[bytes], file: IO[bytes], index: IO[bytes]) -> None:
    """Write pages as one stream and forget them."""
    for page in held:
        key, title = _ID.search(page), _TITLE.search(page)
        assert key is not None
        assert title is not None
        index.write(b"%d:%s:%s\n" % (file.tell(), key[1], title[1]))
    file.write(bz2.compress(b"".join(held)))
    held.clear()
