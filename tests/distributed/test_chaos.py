"""A sample of the chaos run: disturbed four times, a run ends bit for bit like one left alone."""

import json
from pathlib import Path

import pytest

from nulls_dist.benchmark.chaos.comparison import compare_runs
from nulls_dist.benchmark.chaos.disturbed_run import DisturbedRun
from nulls_dist.benchmark.chaos.faults import Fault
from nulls_dist.benchmark.topologies import Combination
from nulls_dist.checkpoint.lives import read_lives
from nulls_dist.train.inspection import inspect_run

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(300)]

STEPS = 40
FAULTS = [
    Fault(kind="SAVE", after_step=5, delay_s=0.0, draw=0),
    Fault(kind="kill", after_step=25, delay_s=0.05, draw=1),
    Fault(kind="preemption", after_step=26, delay_s=0.0, draw=1),
    Fault(kind="STOP", after_step=30, delay_s=0.0, draw=0),
]


def test_a_run_through_kills_and_switches_ends_like_one_that_was_left_alone(
    corpus: Path, tmp_path: Path
) -> None:
    topologies = (Combination(name="EP2", processes=2),)
    disturbed, alone = tmp_path / "disturbed", tmp_path / "alone"
    DisturbedRun(alone, corpus, steps=STEPS, topologies=topologies).train(())
    run = DisturbedRun(disturbed, corpus, steps=STEPS, topologies=topologies)
    happened = run.train(FAULTS)
    assert happened.broken_promises == []
    assert [stroke.kind for stroke in happened.strokes] == [fault.kind for fault in FAULTS]
    assert [stroke.life for stroke in happened.strokes] == [1, 1, 2, 3]
    ends = [life.end and life.end.outcome for life in read_lives(disturbed)]
    assert ends[1:] == ["stopped", "halted", "done"]
    assert ends[0] in (None, "failed")  # rank 1 was killed; rank 0 may have lived to tell
    found = inspect_run(disturbed, stale_after_s=900)
    assert (found.status, len(found.lives)) == ("finished", 4)
    assert found.faults.killed_lives + found.faults.failed_lives == 1

    same = compare_runs(disturbed, alone, corpus, window=10)
    assert (same.num_steps, same.num_differing_steps) == (STEPS, 0)
    assert same.num_tensors > 100
    assert same.num_differing_tensors == 0
    assert same.same_ledger
    assert same.num_tokens == STEPS * 8 * 128
    change_a_loss(disturbed, step=7)
    other = compare_runs(disturbed, alone, corpus, window=10)
    assert other.num_differing_steps == 1
    assert other.largest_loss_difference == pytest.approx(1.0)
    assert 0.05 < other.largest_window_difference < 0.2


def change_a_loss(run_dir: Path, *, step: int) -> None:
    """Double the loss of a step in the metrics."""
    path = run_dir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[step - 1]["train/loss_nats"] *= 2
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
