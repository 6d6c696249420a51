"""Own commands run from any folder, and fail at once where there are no tools."""

import json

import pytest

from nulls_dist.benchmark import commands
from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.large import bench_large
from nulls_dist.errors import InputError, NullsError
from tests.corpus_factory import counted_texts, write_corpus


def test_a_tool_runs_from_another_folder_on_paths_relative_to_it(tmp_path, monkeypatch):
    texts = counted_texts(3)
    write_corpus(tmp_path / "corpus", texts)
    monkeypatch.chdir(tmp_path)
    request = ("corpus", f"key:{texts[0].key}", "--json")
    (place,) = json.loads(Commands().python(Commands.tool("lookup_source"), *request))
    assert int(place["source_id"]) == texts[0].source_id


def test_a_command_that_fails_is_named_with_its_exit_code(capfd):
    with pytest.raises(NullsError, match=r"python -c .*ended with exit code 5"):
        Commands().python("-c", "raise SystemExit(5)")
    assert "raise SystemExit(5)" in capfd.readouterr().err


def test_without_a_checkout_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_TOOLS", tmp_path / "tools")
    with pytest.raises(InputError, match=r"tools is missing: .* run from a checkout"):
        bench_large(tmp_path / "work", "nulls_tiny")
    assert not (tmp_path / "work").exists()
