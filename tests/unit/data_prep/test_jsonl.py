"""JSON Lines: every row is read once, in order, or counted, or refused with file and line."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

import data_prep.jsonl
from data_prep.documents import Document, Skipped
from data_prep.input_files import find_files
from data_prep.jsonl import SUFFIXES, list_parts
from data_prep.rows import Fields
from nulls_dist.errors import InputError

FIELDS = Fields()


def read(given: Path | str, fields: Fields = FIELDS):
    return [
        item for part in list_parts(find_files(str(given), SUFFIXES), fields) for item in part()
    ]


def write(path: Path, *lines: object) -> Path:
    words = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{line}\n" for line in words), encoding="utf-8")
    return path


def row(number: int, **more: object) -> dict:
    return {"id": str(number), "text": f"text {number}", **more}


def test_a_row_of_wikimedia_wikipedia_is_a_source_with_title_and_url(tmp_path: Path) -> None:
    line = {"id": "12", "url": "https://w.org/A", "title": "A", "text": "Z\u00fcrich \U0001f600"}
    (item,) = read(write(tmp_path / "a.jsonl", line))
    assert item == Document(
        source_key="12",
        doc_index=0,
        title="A",
        text="Z\u00fcrich \U0001f600",
        url="https://w.org/A",
    )


def test_with_a_source_key_many_rows_are_documents_of_one_source(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row(1, author="B. Traven", body="x", title="t"))
    (item,) = read(path, Fields(text="body", source_key="author"))
    assert item == Document(source_key="B. Traven", doc_index=0, title="B. Traven", text="x")


@pytest.mark.parametrize("part_bytes", [1, 7, 25, 26, 27, 60, 1000])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_line_is_read_once_however_the_file_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, newline: str
) -> None:
    lines = [json.dumps(row(number, pad="x" * (number % 4))) for number in range(20)]
    lines.insert(7, "")
    path = tmp_path / "a.jsonl"
    path.write_bytes(("\ufeff" + newline.join(lines)).encode())  # no newline at the end
    monkeypatch.setattr(data_prep.jsonl, "PART_BYTES", part_bytes)
    assert [item.source_key for item in read(path)] == [str(number) for number in range(20)]


@pytest.mark.parametrize("part_bytes", [10, 40, 1 << 20])
@pytest.mark.parametrize("bad", [0, 1, 13, 19])
def test_a_bad_line_is_named_by_its_number_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, bad: int
) -> None:
    lines: list[object] = [row(number) for number in range(20)]
    lines[bad] = '{"id": 1, "text": '
    path = write(tmp_path / "a.jsonl", *lines)
    monkeypatch.setattr(data_prep.jsonl, "PART_BYTES", part_bytes)
    with pytest.raises(InputError, match=rf"a\.jsonl, line {bad + 1}: not a JSON object"):
        read(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"id": 1}, "no field 'text'"),
        ({"id": 1, "text": None}, "no field 'text'"),
        ({"id": 1, "text": " \n"}, "empty text"),
        ({"id": 1, "text": "a\0b"}, "NUL character in the text"),
        ('{"id": 1, "text": "a \\ud800 b"}', "lone surrogates: not Unicode text"),
        ({"text": "a"}, "no field 'id', which names the source"),
        ({"id": "", "text": "a"}, "no field 'id', which names the source"),
    ],
)
def test_what_a_row_lacks_is_counted(tmp_path: Path, line: object, reason: str) -> None:
    items = read(write(tmp_path / "a.jsonl", line, row(2)))
    assert items[0] == Skipped(reason=reason)
    assert isinstance(items[1], Document)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": 1, "text": 5}', "field 'text' is '5' of type int, not a string"),
        (b'{"id": 1.5, "text": "a"}', "field 'id' is '1.5' of type float"),
        (b'{"id": true, "text": "a"}', "field 'id' is 'True' of type bool"),
        (b'{"id": 1, "text": "\xff"}', "not a JSON object in UTF-8"),
        (b"[1, 2]", "list is not an object"),
        (b"<html><body>404 Not Found</body></html>", "not a JSON object"),
        ('{"id": 1, "text": "a"}'.encode("utf-16"), "not a JSON object in UTF-8"),
        (b"[" * 100_000, "not a JSON object"),
        (b"\0" * 50, "not a JSON object"),
    ],
)
def test_what_is_no_row_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 0, "text": "good"}\n' + content + b"\n")
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: ") as error:
        read(path)
    assert message in str(error.value)


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "text": "' + b"a" * 10_000))
    monkeypatch.setattr(data_prep.jsonl, "MAX_TEXT_BYTES", 1000)
    with pytest.raises(InputError, match=r"line 1: .*longer than 1000 bytes"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_packed_files_are_read_and_their_damage_is_named(tmp_path: Path, suffix: str) -> None:
    content = b"".join(json.dumps(row(number)).encode() + b"\n" for number in range(5000))
    path = tmp_path / f"a.jsonl{suffix}"
    packed = (
        gzip.compress(content)
        if suffix == ".gz"
        else pa.Codec("zstd").compress(content).to_pybytes()
    )
    path.write_bytes(packed)
    assert [item.text for item in read(path)] == [f"text {number}" for number in range(5000)]
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"a\.jsonl.*damaged after line"):
        read(path)
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(InputError, match=r"a\.jsonl.*damaged after line 0"):
        read(path)
