"""A folder of text files: each is a source, whatever is no text is refused by name."""

from pathlib import Path

import pytest

from data_prep.documents import Document, Skipped
from data_prep.input_files import find_files
from data_prep.text_files import SUFFIXES, list_parts
from nulls_dist.errors import InputError


def read(given: Path | str):
    return [item for part in list_parts(find_files(str(given), SUFFIXES)) for item in part()]


def test_each_file_is_a_source_known_by_its_place_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "austen").mkdir()
    (tmp_path / "austen" / "emma.txt").write_bytes(b"\xef\xbb\xbfEmma\r\nWoodhouse\r\n")
    (tmp_path / "beowulf.txt").write_text("Hw\u00e6t", encoding="utf-8")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "cover.jpg").write_bytes(b"\xff")
    (tmp_path / ".hidden.txt").write_text("x")
    assert read(tmp_path) == [
        Document(source_key="austen/emma.txt", doc_index=0, title="emma", text="Emma\nWoodhouse\n"),
        Document(source_key="beowulf.txt", doc_index=0, title="beowulf", text="Hw\u00e6t"),
        Skipped(reason="empty text"),
    ]


def test_parts_hold_a_few_megabytes_in_the_order_of_the_names(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02d}.txt").write_text("word " * 200_000)
    parts = list_parts(find_files(str(tmp_path), SUFFIXES))
    assert [len(part.named) for part in parts] == [5, 5, 2]
    assert [item.source_key for item in read(tmp_path)] == [f"{n:02d}.txt" for n in range(12)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Gru\xdf", "byte 4: not UTF-8"),
        ("Gr\u00fc\u00dfe".encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b"a\0b", "byte 2: a NUL character"),
        (b"\n<!DOCTYPE html><p>404 Not Found", "HTML, not text"),
        (b"<HTML><body>404</body></HTML>", "HTML, not text"),
    ],
)
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert str(tmp_path / "bad.txt") in str(error.value)
    assert message in str(error.value)


def test_patterns_find_files_of_any_suffix_relative_to_their_fixed_part(tmp_path: Path) -> None:
    for name in ("a/x.md", "a/b/y.md", "a/z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert {item.source_key for item in read(f"{tmp_path}/a/**/*.md")} == {"x.md", "b/y.md"}
    assert [item.source_key for item in read(tmp_path / "a" / "x.md")] == ["x.md"]


@pytest.mark.parametrize("given", ["absent", "absent/*.txt", "."])
def test_finding_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--input"):
        read(given)


def test_the_description_changes_with_names_and_contents_and_not_with_the_place(
    tmp_path: Path,
) -> None:
    def describe(folder: str, **files: str):
        (tmp_path / folder).mkdir()
        for name, content in files.items():
            (tmp_path / folder / f"{name}.txt").write_text(content)
        return find_files(str(tmp_path / folder), SUFFIXES).describe()

    first = describe("1", a="x", b="y")
    assert first == describe("2", a="x", b="y")
    assert first["num_files"] == first["num_bytes"] == 2
    others = [describe("3", a="x", b="z"), describe("4", a="x", c="y"), describe("5", a="y", b="x")]
    assert len({str(entry["sha256sums"]) for entry in [first, *others]}) == 4
