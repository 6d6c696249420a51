"""Parquet: every row is read once, in order, or counted, or refused with file and row."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data_prep.parquet
from data_prep.build import main
from data_prep.documents import Document, Skipped
from data_prep.input_files import find_files
from data_prep.parquet import SUFFIXES, list_parts
from data_prep.rows import Fields
from data_prep.verify import main as verify
from nulls_dist.errors import InputError
from tests.corpus_contents import read_source_rows, read_texts

FIELDS = Fields()


def parts(given: Path | str, fields: Fields = FIELDS):
    return list_parts(find_files(str(given), SUFFIXES), fields)


def read(given: Path | str, fields: Fields = FIELDS):
    return [item for part in parts(given, fields) for item in part()]


def write(path: Path, columns: dict[str, object], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize("part_bytes", [1, 2000, 1 << 24])
def test_each_row_is_read_once_however_the_file_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    keys = list(range(1000))
    path = write(
        tmp_path / "a.parquet",
        {"id": keys, "text": [f"t{key}" for key in keys], "unused": [b"\xff"] * 1000},
        row_group_size=64,
    )
    monkeypatch.setattr(data_prep.parquet, "PART_BYTES", part_bytes)
    assert [(item.source_key, item.text) for item in read(path)] == [
        (str(key), f"t{key}") for key in keys
    ]
    assert len(parts(path)) == {1: 16, 1 << 24: 1}.get(part_bytes, len(parts(path)))


def test_what_a_row_lacks_is_counted(tmp_path: Path) -> None:
    columns = {"id": [1, 2, None, 4], "text": [None, " ", "a", "b"]}
    items = read(write(tmp_path / "a.parquet", columns))
    reasons = ["no field 'text'", "empty text", "no field 'id', which names the source"]
    assert items[:3] == [Skipped(reason=reason) for reason in reasons]
    assert isinstance(items[3], Document)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1], "body": ["a"]}, "no column 'text', only ['id', 'body']; name it with --text"),
        ({"key": [1], "text": ["a"]}, "no column 'id'"),
        ({"id": [1], "text": [b"a"]}, "row 1: field 'text' is"),
        ({"id": [[1]], "text": ["a"]}, "row 1: field 'id' is"),
    ],
)
def test_what_is_no_row_is_refused(tmp_path: Path, columns: dict, message: str) -> None:
    path = write(tmp_path / "a.parquet", columns)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(InputError, match=r"a\.parquet: damaged after row 0"):
        read(write(tmp_path / "a.parquet", {"id": pa.array([1]), "text": text}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: good[: len(good) // 2],
        lambda good: b"<html>404 Not Found</html>",
        lambda good: b"",
        lambda good: good[:4] + bytes(len(good) // 2) + good[4 + len(good) // 2 :],
    ],
    ids=["cut", "html", "empty", "zeros"],
)
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, damage) -> None:
    keys = list(range(500))
    path = write(tmp_path / "a.parquet", {"id": keys, "text": [f"text {key}" for key in keys]})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"a\.parquet"):
        read(path)


def test_shards_that_datasets_wrote_become_a_corpus_and_read_back(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [
        {
            "id": str(number),
            "url": f"https://en.wikipedia.org/wiki/Town_{number}",
            "title": f"Town {number}",
            "text": f"Town {number} is a town.\n\nIt has {number * 7} inhabitants.",
        }
        for number in range(60)
    ]
    whole = datasets.Dataset.from_list(rows)
    folder = tmp_path / "20231101.en"
    folder.mkdir()
    for shard in range(3):
        path = folder / f"train-{shard:05d}-of-00003.parquet"
        whole.shard(3, shard, contiguous=True).to_parquet(path, batch_size=7)
    out = tmp_path / "corpus"
    options = ["--tokenizer", "train:bpe:400", "--partitions", "4", "--workers", "2"]
    source = ["--input", str(folder / "*.parquet"), "--format", "parquet", "--name", "enwiki"]
    main([*source, "--out", str(out), *options])
    verify([str(out)])
    assert read_texts(out) == {row["id"]: [row["text"]] for row in rows}
    described = read_source_rows(out)
    for row in rows:
        found = described[row["id"]]
        assert (found["title"], found["url"]) == (row["title"], row["url"])
        assert found["index"] == int(row["id"])
