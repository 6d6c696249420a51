"""Reads a MediaWiki XML dump page by page: any export schema, any encoding, packed or not.

Articles are the pages of namespace 0 with wikitext; a redirect becomes an alias of its target. Of
several revisions the last one counts. Everything else is skipped and counted by its reason.
"""

import bz2
import contextlib
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import quote

from data_prep.documents import Alias, Document, Item, Skipped
from nulls_dist.errors import InputError

LICENCE: Final = "CC BY-SA 3.0"
"""Licence of Wikipedia's text before June 2023; later revisions are under version 4.0."""

_BZ2_MAGIC: Final = b"BZh"
_BZ2_BLOCK_BYTES: Final = 900_000
_MAX_ID_DIGITS: Final = 19  # fits 64 bits
_URL_SAFE: Final = "/:@!$*(),;'~"
_FILE_ERRORS: Final = (OSError, EOFError, ValueError)
MAX_ELEMENT_BYTES: Final = 16 << 20
"""Longest revision of a page; MediaWiki's own limit is 2 MB of text, before it is escaped."""
MAX_INNER_ELEMENTS: Final = 100_000
"""Most elements inside one revision, which has about twelve."""


class Readable(Protocol):
    """What is needed of a stream."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteInfo:
    """What a dump says of its wiki; empty where it does not."""

    dbname: str = ""
    base_url: str = ""
    """Prefix of article urls, for example "https://en.wikipedia.org/wiki/"."""
    namespaces: Mapping[int, str] = field(default_factory=dict)
    """Name of every namespace but the main one, in the wiki's language."""


class Dump:
    """A MediaWiki XML dump, read from its beginning to its end.

    Attributes:
        path: the file.
        site: contents of <siteinfo>.
    """

    def __init__(self, path: Path) -> None:
        """Open a dump and read its head.

        Raises:
            InputError: the file is missing or is not a dump.
        """
        if not path.is_file():
            raise InputError(f"dump {path} does not exist or is not a file")
        self.path = path
        self.site = self._read_site()

    def _read_site(self) -> SiteInfo:
        for element in self._elements("siteinfo", "page"):
            if local_name(element) == "siteinfo":
                return parse_site(element, self.path)
            break
        return SiteInfo()

    def items(self) -> Iterator[Item]:
        """Yield the articles, aliases and skipped pages in the dump's order.

        Raises:
            InputError: the dump is damaged, or holds no article.
        """
        num_articles = 0
        for page in self._elements("page"):
            item = read_page(page, self.site, self.path)
            num_articles += isinstance(item, Document)
            yield item
        if not num_articles:
            raise InputError(f"{self.path}: the dump holds no article (no page of namespace 0)")

    def _elements(self, *names: str) -> Iterator[ET.Element]:
        with self.path.open("rb") as file, contextlib.ExitStack() as unpacking:
            packed = file.read(len(_BZ2_MAGIC)) == _BZ2_MAGIC
            file.seek(0)
            stream: IO[bytes] = unpacking.enter_context(unpack(file)) if packed else file
            yield from read_elements(stream, names, self.path, file.tell)


def unpack(packed: IO[bytes] | io.RawIOBase) -> IO[bytes]:
    """Return the contents of bz2 streams, read ahead by a whole block.

    A block lies scattered in memory. Unpacked piece by piece, with pages cleaned in between, it
    would be fetched into the processor's cache again for every piece, which takes twice the time.
    """
    blocks: Any = bz2.BZ2File(packed)  # buffered streams stack, though the type of raw denies it
    return io.BufferedReader(blocks, _BZ2_BLOCK_BYTES)


def read_elements(
    stream: Readable, names: tuple[str, ...], path: Path, tell: Callable[[], int]
) -> Iterator[ET.Element]:
    """Yield the children of the root that have one of the names, and forget each after use.

    Args:
        stream: the XML.
        names: without name space.
        path: of the dump, for messages.
        tell: returns the place in that file.

    Raises:
        InputError: the XML is damaged or is no dump.
    """
    try:
        yield from _children(_Bounded(stream), names, path)
    except ET.ParseError as error:
        line, column = error.position
        raise InputError(
            f"{path}: invalid XML at line {line}, column {column}, byte {tell()} of the file: "
            f"{error}; is the download complete?"
        ) from error
    except _FILE_ERRORS as error:
        raise InputError(
            f"{path}: damaged near byte {tell()}: {error}; download it again"
        ) from error


class _Bounded:
    """A stream that ends the reading of an element that no wiki holds (a decompression bomb)."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.num_bytes = 0
        """Read since the last complete element."""

    def read(self, size: int) -> bytes:
        """Read as the stream does.

        Raises:
            ValueError: too much came without the end of an element.
        """
        content = self._stream.read(size)
        self.num_bytes += len(content)
        if self.num_bytes > MAX_ELEMENT_BYTES:
            raise ValueError(f"more than {MAX_ELEMENT_BYTES} bytes in one element")
        return content


def _is_main(page: ET.Element, title: str, site: SiteInfo) -> bool:
    """Say whether a page is an article; schemas before 0.6 tell it by the title alone."""
    if _child(page, "ns") is None:
        return title.partition(":")[0] not in site.namespaces.values()
    return _text(page, "ns").strip() == "0"


def read_page(page: ET.Element, site: SiteInfo, path: Path) -> Item:
    """Return what a <page> is.

    Raises:
        InputError: it lacks a title or an id, or its revision's id is no number.
    """
    title, key = _text(page, "title").strip(), _text(page, "id").strip()
    if not title or not key:
        raise InputError(f"{path}: page {title or key!r} lacks a title or an id")
    if not _is_main(page, title, site):
        return Skipped(reason="not in namespace 0")
    redirect = _child(page, "redirect")
    if redirect is not None and redirect.get("title"):
        return Alias(name=title, target_title=redirect.get("title", ""))
    revision = _last_child(page, "revision")
    if revision is None:
        return Skipped(reason="no revision")
    if _text(revision, "model") not in ("", "wikitext"):
        return Skipped(reason="not wikitext")
    text = _child(revision, "text")
    if text is None or text.get("deleted") is not None or not (text.text or "").strip():
        return Skipped(reason="deleted or empty text")
    url_title = quote(title.replace(" ", "_"), safe=_URL_SAFE)
    return Document(
        source_key=key,
        doc_index=0,
        title=title,
        text=text.text or "",
        rev_id=_read_revision_id(revision, title, path),
        timestamp=_text(revision, "timestamp"),
        url=site.base_url + url_title if site.base_url else "",
        licence=LICENCE,
    )


def _read_revision_id(revision: ET.Element, title: str, path: Path) -> int:
    text = _text(revision, "id").strip() or "0"
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_ID_DIGITS:
        raise InputError(
            f"{path}: page {title!r} has revision id {text[:80]!r}, not a whole number of at most "
            f"{_MAX_ID_DIGITS} digits; the dump is damaged: download it again"
        )
    return int(text)


def parse_site(element: ET.Element, path: Path) -> SiteInfo:
    """Return the contents of <siteinfo>.

    Raises:
        InputError: a namespace has no number.
    """
    base = _text(element, "base")
    names = _child(element, "namespaces")
    entries = () if names is None else names
    try:
        namespaces = {int(entry.get("key", "0")): entry.text for entry in entries if entry.text}
    except ValueError as error:
        raise InputError(
            f"{path}: a <namespace> has no number as key ({error}); download the dump again"
        ) from error
    return SiteInfo(
        dbname=_text(element, "dbname"),
        base_url=base[: base.rfind("/") + 1],
        namespaces=namespaces,
    )


def _children(stream: _Bounded, names: tuple[str, ...], path: Path) -> Iterator[ET.Element]:
    source: Any = stream  # iterparse calls nothing but read
    events: Iterator[tuple[str, Any]] = ET.iterparse(source, events=("start", "end"))
    _, root = next(events)
    if local_name(root) != "mediawiki":
        raise InputError(
            f"{path}: its root element is <{local_name(root)}>, not <mediawiki>; give an XML dump "
            "(pages-articles.xml.bz2)"
        )
    depth, num_inner = 1, 0
    earlier: ET.Element | None = None
    for event, element in events:
        depth += 1 if event == "start" else -1
        if event == "start" or depth > 2:
            num_inner += event == "start"
            if num_inner > MAX_INNER_ELEMENTS:
                raise ValueError(f"more than {MAX_INNER_ELEMENTS} elements in one")
            continue
        stream.num_bytes = num_inner = 0
        if depth == 1:
            if local_name(element) in names:
                yield element
            root.clear()
        elif depth == 2 and local_name(element) == "revision":
            # Only the last one is read: a page's history must not add up in memory.
            if earlier is not None:
                earlier.clear()
            earlier = element


def local_name(element: ET.Element) -> str:
    """Return the name of an element without its name space."""
    return element.tag.rpartition("}")[2]


def _child(element: ET.Element, name: str) -> ET.Element | None:
    return next((child for child in element if local_name(child) == name), None)


def _last_child(element: ET.Element, name: str) -> ET.Element | None:
    return next((child for child in reversed(element) if local_name(child) == name), None)


def _text(element: ET.Element, name: str) -> str:
    child = _child(element, name)
    return "" if child is None else child.text or ""
