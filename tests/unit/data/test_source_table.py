"""sources.parquet: rows by id, and refusal of what is not such a table."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nulls_dist.data import source_table
from nulls_dist.data.format import SOURCES_SCHEMA
from nulls_dist.data.source_table import SourceTable, merge_sources, write_source_table
from nulls_dist.errors import IntegrityError
from tests.corpus_factory import counted_texts, write_sources

TEXTS = counted_texts(10)


@pytest.fixture
def path(tmp_path):
    write_sources(tmp_path / "sources.parquet", TEXTS)
    return tmp_path / "sources.parquet"


def test_every_source_is_found_by_its_id(path):
    table = SourceTable(path)
    assert len(table) == 10
    for text in TEXTS:
        row = table.row_of(text.source_id)
        assert table.table.column("source_key")[row].as_py() == text.key
        assert table.title_of(text.source_id) == f"title of {text.key}"


def test_an_unknown_id_has_no_row_and_is_its_own_title(path):
    table = SourceTable(path)
    for unknown in (0, 5, 2**64 - 1):
        assert table.row_of(unknown) is None
        assert table.title_of(unknown) == f"id:{unknown}"


def test_rows_are_read_in_any_order_and_more_than_once(path, monkeypatch):
    monkeypatch.setattr(source_table, "_BATCH_ROWS", 3)
    table = SourceTable(path)
    keys = table.table.column("source_key").to_pylist()
    rows = [8, 0, 8, 3, 2]
    assert table.read_rows("source_key", np.array(rows)) == [keys[row] for row in rows]
    ids = [int(table.source_ids[9]), 5, int(table.source_ids[1])]
    assert table.titles_of(ids) == [f"title of {keys[9]}", "id:5", f"title of {keys[1]}"]
    assert table.titles_of([]) == []


def test_a_page_damaged_after_opening_is_named(path):
    table = SourceTable(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match=r"sources\.parquet: not readable as Parquet"):
        table.title_of(TEXTS[0].source_id)


def test_a_table_may_be_empty(tmp_path):
    write_sources(tmp_path / "sources.parquet", [])
    assert len(SourceTable(tmp_path / "sources.parquet")) == 0
    assert SourceTable(tmp_path / "sources.parquet").row_of(1) is None


def test_a_missing_or_damaged_table_is_named(path, tmp_path):
    with pytest.raises(IntegrityError, match=r"gone\.parquet: not readable as Parquet"):
        SourceTable(tmp_path / "gone.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match=r"sources\.parquet: not readable as Parquet"):
        SourceTable(path)


def test_another_schema_is_refused(path):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["title"]), path)
    with pytest.raises(IntegrityError, match="schema differs"):
        SourceTable(path)


@pytest.mark.parametrize("order", [[1, 0], [0, 0]])
def test_ids_out_of_order_or_twice_are_refused(path, order):
    rows = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([rows[i] for i in order], schema=SOURCES_SCHEMA), path)
    with pytest.raises(IntegrityError, match="not in ascending order"):
        SourceTable(path)


def table_of(path, rows):
    pq.write_table(pa.Table.from_pylist(rows, schema=SOURCES_SCHEMA), path)
    return SourceTable(path)


def test_a_merged_table_has_the_rows_of_the_corpus_and_those_it_lacks(path, tmp_path):
    rows = pq.read_table(path).to_pylist()
    renamed = [row | {"title": "new", "index": 70 + row["index"]} for row in rows[2:]]
    corpus = table_of(tmp_path / "corpus.parquet", renamed)
    earlier = table_of(tmp_path / "earlier.parquet", rows[:7])
    merged = merge_sources(corpus, earlier)
    assert merged.to_pylist() == rows[:2] + renamed
    write_source_table(tmp_path / "merged.parquet", merged)
    again = SourceTable(tmp_path / "merged.parquet")
    assert again.table.to_pylist() == rows[:2] + renamed
    write_source_table(tmp_path / "again.parquet", merge_sources(corpus, again))
    names = ("merged.parquet", "again.parquet")
    first, second = ((tmp_path / name).read_bytes() for name in names)
    assert first == second


def test_a_corpus_with_all_sources_needs_no_merged_table(path, tmp_path):
    fewer = table_of(tmp_path / "fewer.parquet", pq.read_table(path).to_pylist()[3:])
    assert merge_sources(SourceTable(path), fewer) is None
    assert merge_sources(SourceTable(path), SourceTable(path)) is None
