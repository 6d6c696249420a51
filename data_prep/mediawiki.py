"""Reads a MediaWiki XML dump page by page: any export schema, any encoding, packed or not.

Articles are the pages of namespace 0 with wikitext; a redirect becomes an alias of its target. Of
several revisions the last one counts. Everything else is skipped and counted by its reason.
"""

import bz2
import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from data_prep.documents import Alias, Document, Item, Skipped
from nulls_dist.errors import InputError

LICENCE: Final = "CC BY-SA 3.0"
"""Licence of Wikipedia's text before June 2023; later revisions are under version 4.0."""

_BZ2_MAGIC: Final = b"BZh"
_URL_SAFE: Final = "/:@!$*(),;'~"
_FILE_ERRORS: Final = (OSError, EOFError, ValueError)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteInfo:
    """What a dump says of its wiki; empty where it does not."""

    dbname: str = ""
    base_url: str = ""
    """Prefix of article urls, for example "https://en.wikipedia.org/wiki/"."""
    namespaces: Mapping[int, str] = field(default_factory=dict)
    """Name of every namespace but the main one, in the wiki's language."""


class Dump:
    """A MediaWiki XML dump.

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
            if _local(element.tag) == "siteinfo":
                return _parse_site(element)
            break
        return SiteInfo()

    def items(self) -> Iterator[Item]:
        """Yield the articles, aliases and skipped pages in the dump's order.

        Raises:
            InputError: the dump is damaged, or holds no article.
        """
        num_articles = 0
        for page in self._elements("page"):
            item = self._read_page(page)
            num_articles += isinstance(item, Document)
            yield item
        if not num_articles:
            raise InputError(f"{self.path}: the dump holds no article (no page of namespace 0)")

    def _elements(self, *names: str) -> Iterator[ET.Element]:
        """Yield the children of the root that have one of the names, and forget each after use."""
        with self.path.open("rb") as file, contextlib.ExitStack() as unpacking:
            packed = file.read(len(_BZ2_MAGIC)) == _BZ2_MAGIC
            file.seek(0)
            stream: IO[bytes] = unpacking.enter_context(bz2.open(file)) if packed else file
            try:
                yield from _children(stream, names, self.path)
            except ET.ParseError as error:
                line, column = error.position
                raise InputError(
                    f"{self.path}: invalid XML at line {line}, column {column}, byte "
                    f"{file.tell()} of the file: {error}; is the download complete?"
                ) from error
            except _FILE_ERRORS as error:
                raise InputError(
                    f"{self.path}: damaged near byte {file.tell()}: {error}; download it again"
                ) from error

    def _is_main(self, page: ET.Element, title: str) -> bool:
        """Say whether a page is an article; schemas before 0.6 tell it by the title alone."""
        if _child(page, "ns") is None:
            return title.partition(":")[0] not in self.site.namespaces.values()
        return _text(page, "ns").strip() == "0"

    def _read_page(self, page: ET.Element) -> Item:
        title, key = _text(page, "title").strip(), _text(page, "id").strip()
        if not title or not key:
            raise InputError(f"{self.path}: page {title or key!r} lacks a title or an id")
        if not self._is_main(page, title):
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
            rev_id=int(_text(revision, "id") or 0),
            timestamp=_text(revision, "timestamp"),
            url=self.site.base_url + url_title if self.site.base_url else "",
            licence=LICENCE,
        )


def _parse_site(element: ET.Element) -> SiteInfo:
    base = _text(element, "base")
    names = _child(element, "namespaces")
    entries = () if names is None else names
    return SiteInfo(
        dbname=_text(element, "dbname"),
        base_url=base[: base.rfind("/") + 1],
        namespaces={int(entry.get("key", "0")): entry.text for entry in entries if entry.text},
    )


def _children(stream: IO[bytes], names: tuple[str, ...], path: Path) -> Iterator[ET.Element]:
    events: Iterator[tuple[str, Any]] = ET.iterparse(stream, events=("start", "end"))
    _, root = next(events)
    if _local(root.tag) != "mediawiki":
        raise InputError(
            f"{path}: its root element is <{_local(root.tag)}>, not <mediawiki>; give an XML dump "
            "(pages-articles.xml.bz2)"
        )
    depth = 1
    earlier: ET.Element | None = None
    for event, element in events:
        depth += 1 if event == "start" else -1
        if event == "start" or depth > 2:
            continue
        if depth == 1:
            if _local(element.tag) in names:
                yield element
            root.clear()
        elif depth == 2 and _local(element.tag) == "revision":
            # Only the last one is read: a page's history must not add up in memory.
            if earlier is not None:
                earlier.clear()
            earlier = element


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _child(element: ET.Element, name: str) -> ET.Element | None:
    return next((child for child in element if _local(child.tag) == name), None)


def _last_child(element: ET.Element, name: str) -> ET.Element | None:
    return next((child for child in reversed(element) if _local(child.tag) == name), None)


def _text(element: ET.Element, name: str) -> str:
    child = _child(element, name)
    return "" if child is None else child.text or ""
