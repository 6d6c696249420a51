"""The metrics of real runs: documented, complete, and traced when asked."""

import json
import re
from pathlib import Path

import pytest

from nulls_dist.cli import run_command
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import read_metrics
from tests.launch import ROOT, pretrain_arguments

pytestmark = pytest.mark.distributed

ROW = re.compile(r"^\| `(.+?)` \| .+? \| (.+?) \|", re.MULTILINE)
EVERYWHERE = ("always", "evaluation")


def names_of(line: dict[str, object]) -> set[str]:
    return {re.sub(r"_\d{4}_", "_NNNN_", name) for name in line}


def test_the_documented_metrics_are_those_that_runs_write(
    one_process: Path, two_experts: Path
) -> None:
    documented = dict(ROW.findall((ROOT / "docs" / "metrics.md").read_text()))
    for run_dir in (one_process, two_experts):
        written = names_of(read_metrics(run_dir)[-1])
        assert written == {name for name, when in documented.items() if when in EVERYWHERE}
    assert {name for name, when in documented.items() if when not in EVERYWHERE} == {
        "checkpoint/failed_saves",
        "perf/mfu",
        "perf/peak_allocated_bytes",
    }


def test_the_parts_of_a_step_are_shorter_than_the_step(two_experts: Path) -> None:
    for line in read_metrics(two_experts):
        assert 0 < line["perf/data_s"] < line["perf/step_s"]
        assert line["perf/tokens_per_s"] == pytest.approx(1024 / line["perf/step_s"])
        assert line["perf/peak_resident_bytes"] > 100e6  # torch alone takes more


def traced_steps(run_dir: Path) -> float:
    """How many steps a trace holds: in each, Adam updates 3 groups of parameters."""
    trace = json.loads((run_dir / "log" / "profile-rank0000.json").read_text())
    names = [event.get("name", "") for event in trace["traceEvents"]]
    assert any(name.startswith("aten::") for name in names)
    return names.count("Optimizer.step#AdamW.step") / 3


@pytest.fixture
def plain(settings: dict[str, object]) -> dict[str, object]:
    """Steps and nothing else until the end."""
    return settings | {"train.steps": 4, "train.eval_every": 0, "train.save_every": 100}


@pytest.mark.parametrize(("steps", "count"), [("0:1", 1), ("1:3", 2)])
def test_a_trace_holds_the_steps_that_were_asked_for(
    corpus: Path, plain: dict[str, object], tmp_path: Path, steps: str, count: int
) -> None:
    run_dir = tmp_path / "run"
    pretrain(pretrain_arguments(corpus, run_dir, plain, f"--profile={steps}"))
    assert traced_steps(run_dir) == count
    written = {path.name for path in (run_dir / "log").iterdir()}
    assert written == {"events.jsonl", "profile-rank0000.json"}


def test_a_resumed_run_traces_what_is_left_of_the_range(
    corpus: Path,
    plain: dict[str, object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So that a job that was requeued with its command does not fail."""
    run_dir = tmp_path / "run"
    for steps, profile in ((2, "0:1"), (4, "0:2")):
        (run_dir / "log" / "profile-rank0000.json").unlink(missing_ok=True)
        wanted = plain | {"train.steps": steps}
        pretrain(pretrain_arguments(corpus, run_dir, wanted, f"--profile={profile}"))
    assert "--profile: step 2 was taken before; nothing to trace" in caplog.text
    assert not (run_dir / "log" / "profile-rank0000.json").exists()
    wanted = plain | {"train.steps": 5}
    pretrain(pretrain_arguments(corpus, run_dir, wanted, "--profile=0:5"))
    assert traced_steps(run_dir) == 1


def test_a_range_outside_the_run_is_refused_before_it_starts(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = pretrain_arguments(corpus, tmp_path / "run", {"train.steps": 4}, "--profile=3:5")
    assert run_command(pretrain, arguments) == 2
    assert "--profile (3:5) must have START below STOP" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
