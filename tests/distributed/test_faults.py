"""A sample of the faults that `tools/bench.py faults` puts into training, a few of each."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nulls_dist.benchmark.faults.damage import damage_files
from nulls_dist.benchmark.faults.full_disk import fill_disks
from nulls_dist.benchmark.faults.hostile.family import read_hostile_files
from nulls_dist.benchmark.faults.kills import kill_while_saving
from nulls_dist.benchmark.faults.outcome import Fault
from nulls_dist.benchmark.faults.publication import crash_publications
from nulls_dist.benchmark.faults.refusals import refuse_runs
from nulls_dist.benchmark.faults.report import check_faults, format_faults
from nulls_dist.benchmark.faults.stops import interrupt_runs
from nulls_dist.benchmark.faults.workshop import Workshop, open_workshop
from nulls_dist.cli import run_command
from nulls_dist.errors import NullsError
from tools import bench

pytestmark = pytest.mark.distributed

FAMILIES = {
    kill_while_saving: 2,
    crash_publications: 10,
    fill_disks: 2,
    damage_files: 7,
    interrupt_runs: 3,
    refuse_runs: 2,
    read_hostile_files: 7,
}
"""Each with its number of rows."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return open_workshop(tmp_path_factory.mktemp("faults") / "work", share=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_promise_is_broken(family: Callable[[Workshop], list[Fault]], shop: Workshop) -> None:
    faults = family(shop)
    assert len(faults) == FAMILIES[family]
    for fault in faults:
        assert fault.failures == [], fault.fault
        assert fault.tries or fault.skipped


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--share", "0"), "--share 0.0: must be above 0 and at most 1"),
        (("--families", "kills", "earthquake"), "no earthquake; there are kills, publication"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert run_command(bench.main, ["faults", *words, "--work", str(work)]) == 2
    assert said in capsys.readouterr().err
    assert not work.exists()


def test_a_broken_promise_fails_the_benchmark_after_the_table_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nulls_dist.benchmark.faults import report

    broken = Fault(fault="gravity", promise="nothing falls")
    broken.record([], place="first try")
    broken.record(["the apple fell"], place="second try")
    monkeypatch.setattr(report, "open_workshop", lambda work, share: None)
    monkeypatch.setattr(report, "_FAMILIES", {"apples": lambda shop: [broken]})
    out = tmp_path / "faults.json"
    words = ["faults", "--work", str(tmp_path / "work"), "--out", str(out)]
    assert run_command(bench.main, words) == NullsError.exit_code
    table, error = capsys.readouterr()
    (row,) = json.loads(out.read_text())["faults"]
    assert (row["tries"], row["passed"]) == (2, 1)
    assert "FAILED gravity: second try: the apple fell" in table
    assert "1 tries broke what is promised" in error


def test_a_table_without_failures_is_accepted_and_says_what_was_skipped() -> None:
    row = {"fault": "full disk", "tries": 0, "passed": 0, "failures": [], "measured": {}}
    result = {"faults": [row | {"skipped": "mounting is not permitted here"}]}
    check_faults(result)
    assert "full disk (mounting is not permitted here)" in format_faults(result)
