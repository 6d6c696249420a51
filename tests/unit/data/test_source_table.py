"""sources.parquet: rows by id, and refusal of what is not such a table."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nulls_dist.data.format import SOURCES_SCHEMA
from nulls_dist.data.source_table import SourceTable
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
