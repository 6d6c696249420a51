"""The benchmark of the cleaner counts what each cleaner leaves and loses."""

import json
import sys
from pathlib import Path

import pytest

from nulls_dist.cli import run_command
from tools import bench

PAGES = (
    "'''Rome''' has an area of {{convert|1285|km2}} and 2.8 million people live in it.",
    "A street of {{convert|7|km}} leads from the [[sea]] to the city.\n{| style=x\n| 9\n|}",
)
EXCESSIVE = "{{" * 99


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    pages = "".join(
        f"<page><title>P{key}</title><ns>0</ns><id>{key}</id>"
        f"<revision><id>1</id><text>{text}</text></revision></page>"
        for key, text in enumerate((EXCESSIVE, *PAGES), start=1)
    )
    path = tmp_path / "dump.xml"
    path.write_text(f"<mediawiki>{pages}</mediawiki>", encoding="utf-8")
    return path


def test_figures_of_every_cleaner_on_the_same_pages(dump, capsys, tmp_path) -> None:
    words = ["cleaner", f"--input={dump}", "--rounds=2", f"--out={tmp_path / 'out.json'}"]
    assert run_command(bench.main, [*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert result["pages"] == 2
    assert result["markup_bytes"] == sum(len(text.encode()) for text in PAGES)
    assert result["prose_numbers"] == 3
    assert result["measured_on"]["cpu"]
    assert set(result["cleaners"]) == {"nulls", "hf", "strip_code", "gensim"}
    ours, stripped = result["cleaners"]["nulls"], result["cleaners"]["strip_code"]
    assert ours["residue"] == {}
    assert ours["numbers_kept"] == 1
    assert ours["megabytes_per_s"] == pytest.approx(
        ours["pages_per_s"] * result["markup_bytes"] / 2e6
    )
    assert stripped["numbers_kept"] == pytest.approx(1 / 3)
    assert result["left"] == []


def test_first_pages_and_the_table_without_a_peer(dump, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.corpora.wikicorpus", None)
    assert run_command(bench.main, ["cleaner", f"--input={dump}", "--pages=1"]) == 0
    table = capsys.readouterr().out
    assert "1 articles of dump.xml, 0.0 MB, 2 numbers in prose" in table
    assert "gensim       not installed" in table


def test_dump_that_does_not_exist_is_refused(tmp_path, capsys) -> None:
    assert run_command(bench.main, ["cleaner", f"--input={tmp_path / 'none'}"]) == 3
    assert "does not exist" in capsys.readouterr().err
