"""Dumps of Wikipedia as nobody should publish them: a sound one, damaged at random."""

import bz2
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

HEAD: Final = b"""<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10">
<siteinfo><dbname>w</dbname><base>https://w.org/wiki/Main</base><namespaces>
<namespace key="0" /><namespace key="1">Talk</namespace><namespace key="6">File</namespace>
</namespaces></siteinfo>
"""
END: Final = b"</mediawiki>\n"
DUMP_NAME: Final = "w-multistream.xml.bz2"
INDEX_NAME: Final = "w-multistream-index.txt.bz2"

_TAG: Final = re.compile(rb"<[^>]+>")
_NUMBER: Final = re.compile(rb"(?<=[>\"])[0-9]+(?=[<\"])")
_ODD_NUMBERS: Final = (b"", b"-1", b"x", b"0x10", b"1e3", b"9" * 30, b"\xd9\xa1", b" 7 ", b"1_0")
_ODD_BYTES: Final = (b"\0", b"\xff", b"\x1b", b"&#0;", b"&nope;", b"&#xd800;", b"]]>", b"<![CDATA[")
_STRANGERS: Final = (
    b"",
    b"\n",
    b"<html><head><title>503</title></head><body>busy<br></body></html>",
    b"<?xml version='1.0' encoding='UTF-7'?><mediawiki/>",
    b"<mediawiki></mediawiki>",
    b"<!DOCTYPE m [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><mediawiki>&a;</mediawiki>",
    b"<a>" * 50_000,
    b"\0" * 4096,
)


def sound_pages(num_pages: int = 12) -> list[bytes]:
    """Return pages as a dump holds them: articles, redirects, a talk page."""
    pages = []
    for key in range(1, num_pages + 1):
        extra = '<redirect title="Page 1" />' if key % 5 == 0 else ""
        size = f"{{{{convert|{key}|km}}}}"
        text = f"'''Page {key}''' is a [[page]] of {size}, \u00e9t\u00e9 &amp; \u4e2d."
        pages.append(
            f"<page><title>Page {key}</title><ns>{int(key == 7)}</ns><id>{key}</id>{extra}"
            f"<revision><id>{key}1</id><timestamp>2020-01-01T00:00:00Z</timestamp>"
            f'<model>wikitext</model><text xml:space="preserve">{text}\n\n== More ==\n* {text}'
            "</text></revision></page>\n".encode()
        )
    return pages


def write_damaged_dump(folder: Path, seed: int, pages: list[bytes]) -> Path:
    """Write a dump damaged as its seed says, packed or not, with an index or not; some are sound.

    Returns:
        The dump; an index lies beside it under the usual name.
    """
    draws = random.Random(seed)
    pages = list(pages)
    if draws.random() < 0.5:
        for _ in range(draws.randint(1, 3)):
            _shuffle_pages(pages, draws)
    if draws.random() < 0.3:
        return _write_multistream(folder, pages, draws)
    content = HEAD + b"".join(pages) + END
    for _ in range(draws.choice((0, 1, 1, 2))):
        content = draws.choice(_DAMAGES)(content, draws)
    if draws.random() < 0.05:
        content = draws.choice(_STRANGERS)
    packed = draws.random() < 0.6
    if packed:
        content = _pack(content, draws)
        if draws.random() < 0.4:
            content = draws.choice((_flip, _cut, _splice))(content, draws)
    path = folder / ("w.xml.bz2" if packed else "w.xml")
    path.write_bytes(content)
    return path


def _write_multistream(folder: Path, pages: list[bytes], draws: random.Random) -> Path:
    content, index = bz2.compress(HEAD), b""
    at = 0
    while at < len(pages):
        held = pages[at : at + draws.randint(1, 5)]
        at += len(held)
        for page in held:
            key = re.search(rb"<id>([^<]*)", page)
            index += b"%d:%s:Page\n" % (len(content), key[1] if key else b"0")
        content += bz2.compress(b"".join(held))
    content += bz2.compress(END)
    if draws.random() < 0.4:
        content = draws.choice((_flip, _cut, _splice))(content, draws)
    if draws.random() < 0.6:
        index = draws.choice((_flip, _cut, _splice, _shuffle_lines, _move_lines))(index, draws)
    packed_index = bz2.compress(index)
    if draws.random() < 0.2:
        packed_index = draws.choice((_flip, _cut))(packed_index, draws)
    (folder / INDEX_NAME).write_bytes(packed_index)
    path = folder / DUMP_NAME
    path.write_bytes(content)
    return path


def _shuffle_pages(pages: list[bytes], draws: random.Random) -> None:
    """Repeat, drop, move or empty a page."""
    if not pages:
        return
    place = draws.randrange(len(pages))
    kind = draws.randrange(4)
    if kind == 0:
        pages.insert(draws.randrange(len(pages) + 1), pages[place])
    elif kind == 1:
        pages.pop(place)
    elif kind == 2:
        pages.append(pages.pop(place))
    else:
        name = draws.choice((b"title", b"id", b"ns", b"revision", b"text", b"model"))
        pages[place] = re.sub(
            rb"<%s\b.*?</%s>" % (name, name), b"", pages[place], count=1, flags=re.S
        )


def _pack(content: bytes, draws: random.Random) -> bytes:
    """Pack as one stream or as several."""
    cuts = sorted(draws.randrange(len(content) + 1) for _ in range(draws.choice((0, 0, 3))))
    ends = [*cuts, len(content)]
    begins = [0, *cuts]
    return b"".join(bz2.compress(content[a:b]) for a, b in zip(begins, ends, strict=True))


def _flip(content: bytes, draws: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draws.choice((1, 1, 4, 20)) if changed else 0):
        changed[draws.randrange(len(changed))] ^= 1 << draws.randrange(8)
    return bytes(changed)


def _cut(content: bytes, draws: random.Random) -> bytes:
    return content[: draws.randrange(len(content) + 1)]


def _splice(content: bytes, draws: random.Random) -> bytes:
    """Copy a piece to another place."""
    begin, end = sorted(draws.randrange(len(content) + 1) for _ in range(2))
    at = draws.randrange(len(content) + 1)
    return content[:at] + content[begin:end] + content[at:]


def _drop_tag(content: bytes, draws: random.Random) -> bytes:
    tags = list(_TAG.finditer(content))
    if not tags:
        return content
    tag = draws.choice(tags)
    return content[: tag.start()] + content[tag.end() :]


def _add_attribute(content: bytes, draws: random.Random) -> bytes:
    tags = list(_TAG.finditer(content))
    if not tags:
        return content
    place = draws.choice(tags).end() - 1
    value = draws.choice((b"a", b"&lt;", b"\xc3\xa9")) * draws.choice((1, 1000, 300_000))
    return content[:place] + b' a="%s"' % value + content[place:]


def _change_number(content: bytes, draws: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return content
    number = draws.choice(numbers)
    return content[: number.start()] + draws.choice(_ODD_NUMBERS) + content[number.end() :]


def _insert(content: bytes, draws: random.Random) -> bytes:
    at = draws.randrange(len(content) + 1)
    return content[:at] + draws.choice(_ODD_BYTES) + content[at:]


def _nest(content: bytes, draws: random.Random) -> bytes:
    at = draws.randrange(len(content) + 1)
    depth = draws.choice((10, 1000, 30_000))
    return content[:at] + b"<x>" * depth + b"</x>" * depth + content[at:]


def _declare_entities(content: bytes, draws: random.Random) -> bytes:
    levels = draws.randint(2, 12)
    text = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, levels))
    head = b'<!DOCTYPE mediawiki [<!ENTITY e0 "%s">%s]>' % (b"lol" * 9, text)
    return head + content.replace(b"page</text>", b"&e%d;</text>" % (levels - 1)).replace(
        b"is a", b"&e%d;" % (levels - 1), draws.choice((0, 1))
    )


def _shuffle_lines(index: bytes, draws: random.Random) -> bytes:
    lines = index.splitlines(keepends=True)
    draws.shuffle(lines)
    return b"".join(lines)


def _move_lines(index: bytes, draws: random.Random) -> bytes:
    """Change the offset of some lines."""
    by = draws.choice((-40, -1, 1, 7, 10**9))
    lines = []
    for line in index.splitlines(keepends=True):
        offset, colon, rest = line.partition(b":")
        moved = draws.random() < 0.3
        lines.append(b"%d%s%s" % (int(offset) + by * moved, colon, rest))
    return b"".join(lines)


_Damage = Callable[[bytes, random.Random], bytes]
_DAMAGES: Final[tuple[_Damage, ...]] = (
    *(_flip, _cut, _splice, _drop_tag, _add_attribute, _change_number, _change_number, _insert),
    *(_nest, _declare_entities),
)
