"""The benchmarks of finding sources by name measure what they say, on tables of distinct names."""

import json

import pytest

from nulls_dist.benchmark.random_sources import write_random_sources
from nulls_dist.cli import run_command
from nulls_dist.data.source_table import SourceTable
from tools import bench


def measure(capsys, *words):
    assert run_command(bench.main, [*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_made_up_names_are_distinct_and_differ_from_titles(tmp_path):
    write_random_sources(tmp_path / "sources.parquet", 20_000)
    table = SourceTable(tmp_path / "sources.parquet")
    assert len(table) == 20_000
    titles = table.table["title"].to_pylist()
    aliases = [name for names in table.table["aliases"].to_pylist() for name in names]
    assert len(aliases) == 30_000
    assert len({*titles, *aliases}) == 50_000


def test_every_line_of_the_request_ends_as_it_was_made(tmp_path, capsys):
    result = measure(capsys, "resolve", "--sources=3000", "--lines=400", f"--work={tmp_path}")
    outcomes = result["ways"]["resolve_requests"]["outcomes"]
    assert outcomes["unknown"] == 400 // 20
    assert outcomes["matched"] + outcomes["duplicate"] == 400 - 400 // 20
    spelt_exactly = result["ways"]["dict of titles and aliases"]["outcomes"]["matched"]
    assert spelt_exactly == 400 * 16 // 20
    assert list(tmp_path.iterdir()) == []


def test_the_index_finds_titles_and_aliases_and_most_misspelt_ones(tmp_path, capsys):
    result = measure(capsys, "prompts", "--titles=500", "--queries=10", f"--work={tmp_path}")
    assert result["kinds"]["title"]["first"] == result["kinds"]["alias"]["first"] == 1.0
    assert result["kinds"]["inside a question"]["first"] == 1.0
    assert result["kinds"]["one letter wrong"]["first"] == pytest.approx(1.0, abs=0.1)
    assert result["bytes"]["vectors.npy"] == 500 * 256 + 128
    assert list(tmp_path.iterdir()) == []
