"""metrics.jsonl: one line per step, once, also after a life that was killed."""

import json
import sys

import pytest

from nulls_dist.train.hooks import StepEvent
from nulls_dist.train.metrics import MetricsLog, ProgressLine


def event(step, *, is_last=False, **metrics):
    metrics |= {"train/loss_nats": 2.5, "train/grad_norm": 1.0, "perf/tokens_per_s": 12_345.6}
    metrics |= {"train/tokens": 100 * step}
    return StepEvent(
        step=step,
        is_last=is_last,
        batches=[],
        metrics={"step": step, **metrics},
        engine=None,
    )


def steps_in(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def write(path, steps, *, first_step):
    log = MetricsLog(path, first_step=first_step)
    for step in steps:
        log.after_step(event(step, life=first_step))
    log.close()


def test_a_resumed_log_drops_the_steps_it_takes_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 8), first_step=0)
    write(path, range(5, 10), first_step=4)
    assert steps_in(path) == list(range(1, 10))
    lives = [json.loads(line)["life"] for line in path.read_text().splitlines()]
    assert lives == [0] * 4 + [4] * 5


@pytest.mark.parametrize("torn", ['{"step": 4, "train/lo', '{"step"', "{", "4", "[]", '{"a": 1}'])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 4), first_step=0)
    with path.open("a") as file:
        file.write(torn)
    write(path, range(4, 6), first_step=3)
    assert steps_in(path) == [1, 2, 3, 4, 5]


def test_a_run_from_the_beginning_starts_an_empty_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 4), first_step=0)
    write(path, [1], first_step=0)
    assert steps_in(path) == [1]


def test_a_line_is_on_disk_as_soon_as_its_step_is_taken(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, first_step=0)
    for step in (1, 2):
        log.after_step(event(step))
        assert steps_in(path) == list(range(1, step + 1))
    log.close()


@pytest.mark.parametrize("lacking", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_written_as_null(tmp_path, lacking):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, first_step=0)
    log.after_step(event(1, bad=lacking, good=1.5))
    log.close()
    line = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert line["bad"] is None
    assert line["good"] == 1.5


def test_progress_is_printed_now_and_then_and_at_the_end(capsys):
    progress = ProgressLine(steps=103, first_step=0, lines=4)
    for step in range(1, 104):
        progress.after_step(event(step, is_last=step == 103))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [
        "25/103",
        "50/103",
        "75/103",
        "100/103",
        "103/103",
    ]
    assert "loss 2.500  grad norm 1.00  12,346 tokens/s" in lines[0]
    assert lines[-1].endswith("0 s left")


def test_progress_rewrites_one_line_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = ProgressLine(steps=3, first_step=0)
    for step in (1, 2, 3):
        progress.after_step(event(step, is_last=step == 3))
    written = capsys.readouterr().err
    assert written.count("\r") == 3
    assert written.count("\n") == 1
    assert written.endswith("\n")
