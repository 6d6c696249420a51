"""What the files of a run directory tell: status, progress, faults."""

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from nulls_dist.checkpoint.lives import LifeEnd, LifeStart, append_life
from nulls_dist.checkpoint.store import step_directory
from nulls_dist.cli import run_command
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.train.inspection import inspect_run, last_metrics
from nulls_dist.train.run_lock import locked
from tools import inspect_run as tool

STALE_S = 900


def ago(seconds):
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds")


def begin(run_dir, life=1, *, first_step=0, since_s=100):
    append_life(
        run_dir,
        LifeStart(
            life=life,
            first_step=first_step,
            first_data_step=0,
            rows_per_step=8,
            seed=0,
            world_size=2,
            topology={"dp": 2},
            parallel={"ep": 0},
            corpus="wiki",
            corpus_sha256="0" * 64,
            exposure=False,
            versions={},
            started_at=ago(since_s),
        ),
    )


def end(run_dir, outcome, life=1, *, last_step=20):
    record = LifeEnd(life=life, last_step=last_step, outcome=outcome, ended_at=ago(0))
    append_life(run_dir, record)


def take_steps(run_dir, last_step, *, since_s=0, **metrics):
    lines = [
        {"step": step, "train/loss_nats": 2.0, "perf/tokens_per_s": 1000.0, **metrics}
        for step in range(1, last_step + 1)
    ]
    (run_dir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    touch(run_dir / "heartbeat", since_s)


def touch(path, since_s):
    path.touch()
    moment = time.time() - since_s
    os.utime(path, (moment, moment))


@pytest.fixture
def run_dir(tmp_path):
    """A run of 100 steps whose first life began 100 seconds ago, on another host."""
    content = {"config": {"preset": "nulls_tiny", "train": {"steps": 100}}}
    (tmp_path / "run.json").write_text(json.dumps(content))
    (tmp_path / ".lock").write_text("elsewhere\n")
    begin(tmp_path)
    return tmp_path


def inspect(run_dir):
    return inspect_run(run_dir, stale_after_s=STALE_S)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("done", "finished"), ("stopped", "stopped"), ("halted", "stopped"), ("failed", "crashed")],
)
def test_a_life_that_recorded_its_end_says_how_the_run_stands(outcome, status, run_dir):
    take_steps(run_dir, 20)
    end(run_dir, outcome)
    found = inspect(run_dir)
    assert found.status == status
    assert outcome in found.reason
    assert [life.end for life in found.lives] == [outcome]
    assert found.progress.expected_end is None
    assert found.faults.failed_lives == (outcome == "failed")


@pytest.mark.parametrize(
    ("idle_s", "status"), [(STALE_S - 100, "running"), (STALE_S + 100, "stale")]
)
def test_a_run_of_another_host_runs_while_its_heart_beats(idle_s, status, run_dir):
    (run_dir / "lives.jsonl").unlink()
    begin(run_dir, since_s=5000)
    take_steps(run_dir, 20, since_s=idle_s)
    found = inspect(run_dir)
    assert found.status == status
    assert found.heartbeat_age_s == pytest.approx(idle_s, abs=20)
    assert [life.end for life in found.lives] == [status]
    assert found.faults.killed_lives == 0


def test_a_life_that_just_began_runs_whatever_the_heartbeat_of_the_one_before(run_dir):
    take_steps(run_dir, 20, since_s=5000)
    end(run_dir, "stopped")
    begin(run_dir, 2, first_step=20, since_s=10)
    found = inspect(run_dir)
    assert found.status == "running"
    assert found.progress.s_per_step is None
    assert found.progress.expected_end is None


def test_a_killed_life_is_known_at_once_on_its_own_host(run_dir):
    take_steps(run_dir, 20)
    with locked(run_dir):
        assert inspect(run_dir).status == "running"
    found = inspect(run_dir)
    assert found.status == "crashed"
    assert "killed" in found.reason
    assert [life.end for life in found.lives] == ["killed"]
    assert found.faults.killed_lives == 1


def test_a_process_without_steps_hangs_or_is_starting(run_dir):
    (run_dir / "lives.jsonl").unlink()
    begin(run_dir, since_s=5000)
    take_steps(run_dir, 20, since_s=2 * STALE_S)
    with locked(run_dir):
        found = inspect(run_dir)
        assert found.status == "stale"
        assert "its process is there" in found.reason
        end(run_dir, "stopped")
        assert inspect(run_dir).reason == "a new life is starting"


def test_the_expected_end_follows_from_the_pace_of_the_newest_life(run_dir):
    """It took 20 steps in 100 s, so the other 80 take 400 s."""
    take_steps(run_dir, 20)
    progress = inspect(run_dir).progress
    assert (progress.step, progress.steps) == (20, 100)
    assert progress.s_per_step == pytest.approx(5.0, rel=0.1)
    left = datetime.fromisoformat(progress.expected_end) - datetime.now(UTC)
    assert left.total_seconds() == pytest.approx(400, rel=0.1)


def test_loss_and_speed_are_of_the_newest_steps_and_leave_out_what_is_not_finite(run_dir):
    lines = [
        {"step": step, "train/loss_nats": loss, "perf/tokens_per_s": speed}
        for step, (loss, speed) in enumerate(
            [(90.0, 1.0)] * 50 + [(3.0, 10.0)] * 60 + [(None, 20.0)] + [(5.0, 900.0)] * 39, start=1
        )
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (run_dir / "metrics.jsonl").write_text(text + '{"step": 151, "train/lo')
    progress = inspect(run_dir).progress
    assert progress.step == 150
    assert progress.loss_nats == pytest.approx((60 * 3 + 39 * 5) / 99)
    assert progress.tokens_per_s == 10.0


def test_the_newest_metrics_of_a_long_run_are_read_from_its_end(tmp_path):
    lines = (f'{{"step": {step}, "padding": "{"x" * 400}"}}\n' for step in range(1, 5001))
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    assert [line["step"] for line in last_metrics(tmp_path, 3)] == [4998, 4999, 5000]
    assert last_metrics(tmp_path / "nowhere", 3) == []


def test_the_newest_complete_checkpoint_counts_and_an_unfinished_one_does_not(run_dir):
    assert inspect(run_dir).checkpoint is None
    for step in (10, 20):
        root = step_directory(run_dir, step)
        root.mkdir(parents=True)
        (root / "manifest.json").write_text("{}")
        touch(root / "manifest.json", 60)
    step_directory(run_dir, 30).mkdir()
    found = inspect(run_dir).checkpoint
    assert (found.step, found.path) == (20, str(step_directory(run_dir, 20)))
    assert found.age_s == pytest.approx(60, abs=5)


def test_faults_of_all_lives_are_counted(run_dir):
    begin(run_dir, 2)
    end(run_dir, "failed", 2)
    begin(run_dir, 3)
    log = run_dir / "log"
    log.mkdir()
    bad = [{"kind": "not_finite"}, {"kind": "spike"}, {"kind": "not_finite"}]
    (log / "bad_steps.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in bad))
    events = ["failed_save", "checkpoint", "hang", "failed_save"]
    lines = "".join(f'{{"event": "{event}"}}\n' for event in events)
    (log / "events.jsonl").write_text(f'{lines}[]\n{{"event": "failed_sa')
    faults = inspect(run_dir).faults
    assert (faults.skipped_steps, faults.loss_spikes) == (2, 1)
    assert (faults.failed_lives, faults.killed_lives) == (1, 1)
    assert (faults.hangs, faults.failed_saves) == (1, 2)


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no lives\.jsonl"):
        inspect(tmp_path)


def test_a_run_whose_first_life_has_just_begun_is_no_damage(run_dir):
    (run_dir / "run.json").unlink()
    with pytest.raises(InputError, match=r"no run\.json: .*no life of the run has begun"):
        inspect(run_dir)


@pytest.mark.parametrize("content", ["{}", "[]", '{"config": {"preset": "nulls_tiny"}}'])
def test_a_configuration_without_what_is_needed_is_damage(run_dir, content):
    (run_dir / "run.json").write_text(content)
    with pytest.raises(IntegrityError, match=r"run\.json: no configuration of a run"):
        inspect(run_dir)


def test_the_tool_says_all_of_it_and_its_exit_code_tells_whether_there_is_a_run(
    run_dir, tmp_path, capsys
):
    take_steps(run_dir, 20)
    root = step_directory(run_dir, 20)
    root.mkdir(parents=True)
    (root / "manifest.json").write_text("{}")
    touch(root / "manifest.json", 2 * 3600 + 62)
    assert run_command(tool.main, [str(run_dir)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{run_dir}: running (last step or start ")
    for line in (
        "steps       20 of 100 (20.0%)",
        "loss        2.0000 nats",
        "speed       1,000 tokens/s in steps, ",
        f"checkpoint  step 20, 2:01:02 h old: {root}",
        "faults      none",
        "life 1      2 processes, steps 0 to ?, ",
    ):
        assert f"\n{line}" in said
    end(run_dir, "failed")
    assert run_command(tool.main, [str(run_dir), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["status"], content["faults"]["failed_lives"]) == ("crashed", 1)
    (run_dir / "lives.jsonl").write_text("{}\n")
    assert run_command(tool.main, [str(run_dir)]) == 5
    (run_dir / "lives.jsonl").unlink()
    assert run_command(tool.main, [str(run_dir)]) == 3
