"""A multistream dump read in ranges gives what it gives when it is read from its beginning."""

import bz2
from pathlib import Path

import pytest

import data_prep.multistream
from data_prep.mediawiki import Dump
from data_prep.multistream import StreamRange, find_index, list_ranges
from nulls_dist.errors import InputError

HEAD = "<mediawiki><siteinfo><dbname>w</dbname><base>https://w.org/wiki/M</base></siteinfo>\n"
STREAMS = ([1, 2, 3], [4], [5, 6], [7, 8, 9, 10], [11])


def page(key: int) -> str:
    ns = 1 if key == 8 else 0
    extra = '<redirect title="Page 1" />' if key % 5 == 0 else ""
    return (
        f"<page><title>Page {key}: of many</title><ns>{ns}</ns><id>{key}</id>{extra}<revision>"
        f"<id>9</id><text>Text of {key}.</text></revision></page>\n"
    )


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A dump as Wikimedia packs it: head, streams of pages, end; and its index beside it."""
    content = bz2.compress(HEAD.encode())
    index = ""
    for keys in STREAMS:
        index += "".join(f"{len(content)}:{key}:Page {key}: of many\n" for key in keys)
        content += bz2.compress("".join(map(page, keys)).encode())
    path = tmp_path / "w-multistream.xml.bz2"
    path.write_bytes(content + bz2.compress(b"</mediawiki>"))
    (tmp_path / "w-multistream-index.txt.bz2").write_bytes(bz2.compress(index.encode()))
    return path


def ranges(dump: Path) -> list[StreamRange]:
    index = find_index(dump)
    assert index is not None
    return list_ranges(dump, index)


def read(dump: Path):
    return [item for part in ranges(dump) for item in part()]


@pytest.mark.parametrize(("part_bytes", "num_ranges"), [(1, 5), (250, 3), (1 << 20, 1)])
def test_ranges_together_are_the_dump(
    dump: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, num_ranges: int
) -> None:
    monkeypatch.setattr(data_prep.multistream, "MIN_PART_BYTES", part_bytes)
    assert read(dump) == list(Dump(dump).items())
    assert len(ranges(dump)) == num_ranges
    assert [part.num_pages for part in ranges(dump)][:1] == {1: [3], 250: [4], 1 << 20: [11]}[
        part_bytes
    ]


def test_their_number_is_bounded(dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_prep.multistream, "MIN_PART_BYTES", 1)
    monkeypatch.setattr(data_prep.multistream, "MAX_PARTS", 2)
    assert len(ranges(dump)) <= 2
    assert read(dump) == list(Dump(dump).items())


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("enwiki-multistream.xml.bz2", "enwiki-multistream-index.txt.bz2"),
        (
            "enwiki-20240101-pages-articles-multistream1.xml-p1p41242.bz2",
            "enwiki-20240101-pages-articles-multistream-index1.txt-p1p41242.bz2",
        ),
        ("enwiki-pages-articles.xml.bz2", None),
    ],
)
def test_the_index_is_found_under_the_name_that_wikimedia_gives_it(
    tmp_path: Path, name: str, index: str | None
) -> None:
    assert find_index(tmp_path / name) is None
    if index is not None:
        (tmp_path / index).write_bytes(b"")
        assert find_index(tmp_path / name) == tmp_path / index


def change_index(dump: Path, change) -> None:
    path = dump.with_name("w-multistream-index.txt.bz2")
    lines = bz2.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    path.write_bytes(bz2.compress("".join(change(lines)).encode()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "is empty"),
        (lambda lines: [*lines[4:], *lines[:4]], "line 8: .*not offset:page id:title"),
        (lambda lines: ["<html>404</html>"], "line 1: .*not offset:page id:title"),
        (
            lambda lines: [*lines, "99999999:12:Page 12\n"],
            "line 12: names byte 99999999 of .*cut off",
        ),
        (lambda lines: lines[1:], "pages from byte .*its index says"),
        (lambda lines: lines[:-1], "pages from byte .*its index says"),
        (
            lambda lines: [f"{int(line.partition(':')[0]) + 3}:1:A\n" for line in lines],
            "damaged near",
        ),
    ],
    ids=["empty", "unsorted", "html", "beyond", "first-missing", "last-missing", "off"],
)
def test_an_index_of_another_dump_is_refused(
    dump: Path, monkeypatch: pytest.MonkeyPatch, change, message: str
) -> None:
    monkeypatch.setattr(data_prep.multistream, "MIN_PART_BYTES", 1)
    change_index(dump, change)
    with pytest.raises(InputError, match=message):
        read(dump)


def test_a_damaged_index_is_refused(dump: Path) -> None:
    path = dump.with_name("w-multistream-index.txt.bz2")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"index\.txt\.bz2: damaged"):
        read(dump)


@pytest.mark.parametrize("num_missing", [5, 40, 150, 400])
def test_a_dump_that_is_cut_anywhere_is_refused(
    dump: Path, monkeypatch: pytest.MonkeyPatch, num_missing: int
) -> None:
    monkeypatch.setattr(data_prep.multistream, "MIN_PART_BYTES", 1)
    dump.write_bytes(dump.read_bytes()[:-num_missing])
    with pytest.raises(InputError):
        read(dump)


def test_the_real_excerpt_in_ranges_is_the_excerpt(test_data: Path) -> None:
    path = test_data / "dump" / "enwiki-excerpt-multistream.xml.bz2"
    assert len(ranges(path)) > 1
    assert read(path) == list(Dump(path).items())
