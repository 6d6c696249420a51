"""A run that is stopped, killed and continued on other topologies, as if nothing had happened."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints, step_directory
from nulls_dist.data.corpus import Corpus
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import read_metrics
from tests.exposure_proof import check, check_epochs, read_ledger
from tests.launch import STOPPED, Job, pretrain_arguments, start, torchrun_environment

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(400)]

STEPS = 150


def steps_taken(run_dir: Path) -> int:
    """Steps in the metrics, which the training process may be writing right now."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines and lines[-1].endswith("}") else 0


def newest_step(run_dir: Path) -> int:
    return int(list_checkpoints(run_dir)[-1].name.removeprefix("step-"))


def wait_until(job: Job, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        ended = any(process.poll() is not None for process in job.processes)
        if ended or time.monotonic() > deadline:
            raise AssertionError(job.end())
        time.sleep(0.02)


def train_until_stopped(
    arguments: list[str], run_dir: Path, *, num_processes: int, number: signal.Signals
) -> int:
    """Train some steps, stop by a signal to the last rank; return the step of the checkpoint."""
    before = steps_taken(run_dir)
    job = start(arguments, num_processes=num_processes, launcher=torchrun_environment)
    wait_until(job, lambda: steps_taken(run_dir) >= before + 5)
    job.send(number, rank=num_processes - 1)
    job.wait(expected=STOPPED)
    return newest_step(run_dir)


def train_until_killed(arguments: list[str], run_dir: Path, *, num_processes: int) -> int:
    """Kill all ranks some steps after a checkpoint of theirs; return that checkpoint's step."""
    before = newest_step(run_dir)
    job = start(arguments, num_processes=num_processes, launcher=torchrun_environment)

    def stands_beyond_a_checkpoint() -> bool:
        for rank in range(num_processes):
            job.send(signal.SIGSTOP, rank)
        if newest_step(run_dir) > before and steps_taken(run_dir) > newest_step(run_dir):
            return True
        for rank in range(num_processes):
            job.send(signal.SIGCONT, rank)
        return False

    wait_until(job, stands_beyond_a_checkpoint)
    job.end()
    return newest_step(run_dir)


@pytest.mark.parametrize(
    "topology", [{"parallel.tp": 2}, {"parallel.dispatcher": "all_to_all"}], ids=["tp", "all2all"]
)
def test_two_processes_that_share_rows_or_deal_them_log_each_piece_once(
    topology: dict[str, object],
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = settings | {
        "train.save_every": 4,
        "train.async_save": "true",
        "report.exposure": "true",
    }
    arguments = pretrain_arguments(corpus, tmp_path / "run", wanted | topology)
    start(arguments, num_processes=2, launcher=torchrun_environment).wait()
    assert check(tmp_path / "run", corpus, capsys)["num_tokens"] == 8 * 8 * 128
    for step in (4, 8):
        assert list(Checkpoint(step_directory(tmp_path / "run", step)).verify())


def test_one_process_then_two_experts_then_two_replicas_then_one_process(
    corpus: Path, settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    wanted = settings | {
        "train.steps": STEPS,
        "train.save_every": 4,
        "train.eval_every": 0,
        "train.async_save": "true",
        "report.exposure": "true",
    }
    arguments = pretrain_arguments(corpus, run_dir, wanted)
    replicas = pretrain_arguments(corpus, run_dir, wanted | {"parallel.ep": 1})
    first = train_until_stopped(arguments, run_dir, num_processes=1, number=signal.SIGTERM)
    second = train_until_stopped(arguments, run_dir, num_processes=2, number=signal.SIGUSR1)
    third = train_until_killed(replicas, run_dir, num_processes=2)
    pretrain(arguments)
    borders = [0, first, second, third, STEPS]

    records = read_ledger(run_dir)
    starts = [record for record in records if record["record"] == "start"]
    assert [record["first_step"] for record in starts] == borders[:-1]
    degrees = [(record["topology"]["ep"], record["topology"]["edp"]) for record in starts]
    assert degrees == [(1, 1), (2, 1), (1, 2), (1, 1)]
    assert [record["life"] for record in records if record["record"] == "end"] == [1, 2, 4]

    summary = check(run_dir, corpus, capsys)
    assert (summary["first_step"], summary["last_step"]) == (0, STEPS)
    assert summary["num_tokens"] == STEPS * 8 * 128
    assert summary["num_lost_segments"] > 0
    spans = [(life, borders[life - 1], borders[life]) for life in (1, 2, 3, 4)]
    assert check_epochs(run_dir, Corpus(corpus), spans) >= 80

    pretrain(pretrain_arguments(corpus, tmp_path / "uninterrupted", wanted))
    for one, other in zip(
        read_metrics(tmp_path / "uninterrupted"), read_metrics(run_dir), strict=True
    ):
        assert [one[name] for name in ("step", "train/targets")] == [
            other[name] for name in ("step", "train/targets")
        ]
        assert one["train/loss_nats"] == pytest.approx(other["train/loss_nats"], rel=1e-3)
