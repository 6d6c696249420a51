"""Saving: beside training or not, the same bytes; a failure leaves nothing behind and is told."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
from torch import Tensor

from nulls_dist import durable
from nulls_dist.checkpoint import parts
from nulls_dist.checkpoint.store import (
    Checkpoint,
    list_checkpoints,
    step_directory,
    write_tensors,
)
from nulls_dist.cli import run_command
from nulls_dist.errors import NullsError
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import check_equal_contents, read_metrics
from tests.launch import STOPPED, pretrain_arguments, start, torchrun_environment

pytestmark = pytest.mark.distributed

BAD_INPUT = 3
FAILED = "checkpoint/failed_saves"
LARGEST_FILE = 1 << 17
"""Bytes that all files but weights and optimizer state stay below."""


class Pace:
    """Counts the steps of an in-process run; may make its writers wait for one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from nulls_dist.train import loop

        self._steps: dict[int, threading.Event] = {}
        self.actions: dict[int, Any] = {}
        self.writers: set[str] = set()
        train_step = loop.train_step

        def counted(run: Any, engine: Any, *args: Any, **options: Any) -> Any:
            self.actions.get(engine.global_steps, lambda: None)()
            result = train_step(run, engine, *args, **options)
            self._taken(engine.global_steps).set()
            return result

        monkeypatch.setattr(loop, "train_step", counted)
        self._monkeypatch = monkeypatch

    def _taken(self, step: int) -> threading.Event:
        return self._steps.setdefault(step, threading.Event())

    def write_after(self, step: int) -> None:
        """Let nothing be written before training has taken `step` steps."""

        def patient(path: Path, tensors: Mapping[str, Tensor]) -> None:
            assert self._taken(step).wait(30), f"training never got to step {step}"
            self.writers.add(threading.current_thread().name)
            write_tensors(path, tensors)

        self._monkeypatch.setattr(parts, "write_tensors", patient)


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Pace:
    select_accelerator(0)  # before DeepSpeed is imported, which looks for one itself
    return Pace(monkeypatch)


@pytest.fixture
def beside(settings: dict[str, object]) -> dict[str, object]:
    return settings | {"train.async_save": "true", "train.save_every": 4, "train.eval_every": 0}


@contextmanager
def largest_file(num_bytes: int = LARGEST_FILE) -> Iterator[None]:
    """Make the kernel refuse longer files of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def saved_steps(run_dir: Path) -> list[int]:
    """Steps of the checkpoints, after looking for leftovers of others."""
    names = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    assert names == [path.name for path in list_checkpoints(run_dir)]
    return [int(name.removeprefix("step-")) for name in names]


def test_what_is_written_beside_training_is_what_was_at_the_step(
    one_process: Path, corpus: Path, beside: dict[str, object], tmp_path: Path, pace: Pace
) -> None:
    """Nothing of step 4 is written before training has changed all weights three times."""
    pace.write_after(7)
    pretrain(pretrain_arguments(corpus, tmp_path / "run", beside))
    assert {"save-4", "save-8"} <= pace.writers
    for step in (4, 8):
        saved = step_directory(tmp_path / "run", step)
        check_equal_contents(saved, step_directory(one_process, step))
        assert len(list(Checkpoint(saved).verify())) == 10
    assert (tmp_path / "run" / "latest_step").read_text() == "8\n"
    assert [line[FAILED] for line in read_metrics(tmp_path / "run")] == [0] * 8


def test_the_next_save_waits_for_the_one_before(
    corpus: Path, beside: dict[str, object], tmp_path: Path, pace: Pace
) -> None:
    run_dir = tmp_path / "run"
    found: dict[int, list[int]] = {}

    def look_before(step: int) -> Callable[[], None]:
        return lambda: found.update({step: [int(p.name[-8:]) for p in list_checkpoints(run_dir)]})

    pace.write_after(4)  # the save of step 2 can end when that of step 4 is due
    pace.actions = {step: look_before(step) for step in (3, 4, 6)}
    pretrain(pretrain_arguments(corpus, run_dir, beside | {"train.save_every": 2}))
    assert found[3] == []
    assert 2 in found[4]
    assert 4 in found[6]
    assert saved_steps(run_dir) == [2, 4, 6, 8]


def test_hooks_hear_of_a_checkpoint_on_the_training_thread_once_it_is_published(
    corpus: Path,
    beside: dict[str, object],
    tmp_path: Path,
    pace: Pace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nulls_dist.train.hooks import Heartbeat

    heard: list[tuple[int, str, list[int]]] = []

    def after_checkpoint(_: Heartbeat, root: Path, step: int) -> None:
        published = [int(path.name[-8:]) for path in list_checkpoints(root.parents[1])]
        heard.append((step, threading.current_thread().name, published))

    monkeypatch.setattr(Heartbeat, "after_checkpoint", after_checkpoint)
    pace.write_after(6)
    pace.actions = {7: lambda: heard.append((0, "step 8 begins", []))}
    pretrain(pretrain_arguments(corpus, tmp_path / "run", beside))
    main = threading.main_thread().name
    assert [entry for entry in heard if entry[0]] == [(4, main, [4]), (8, main, [4, 8])]


def test_a_save_that_fails_stops_nothing_and_a_later_one_succeeds(
    one_process: Path,
    corpus: Path,
    beside: dict[str, object],
    tmp_path: Path,
    pace: Pace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The kernel refuses to write the files of step 2."""
    run_dir = tmp_path / "run"
    limit = largest_file()

    def wait_for_the_writers() -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("save-"):
                thread.join()
        limit.__exit__(None, None, None)

    pace.actions = {1: limit.__enter__, 2: wait_for_the_writers}
    pretrain(pretrain_arguments(corpus, run_dir, beside | {"train.save_every": 2}))
    (message,) = [record.message for record in caplog.records if "training goes on" in record.msg]
    assert "step-00000002 failed: " in message
    assert "File too large" in message
    assert saved_steps(run_dir) == [4, 6, 8]
    assert [line[FAILED] for line in read_metrics(run_dir)] == [0, 0, 0, 1, 1, 1, 1, 1]
    check_equal_contents(step_directory(run_dir, 8), step_directory(one_process, 8))


def test_a_file_in_the_place_of_the_partial_directory_fails_that_save_only(
    corpus: Path, beside: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = tmp_path / "run"
    in_the_way = durable.partial_directory(step_directory(run_dir, 4))
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("not a directory")
    pretrain(pretrain_arguments(corpus, run_dir, beside))
    assert [path.name for path in list_checkpoints(run_dir)] == ["step-00000008"]
    assert "step-00000004 failed" in caplog.text
    assert [line[FAILED] for line in read_metrics(run_dir)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert in_the_way.read_text() == "not a directory"


@pytest.mark.parametrize("asynchronous", ["true", "false"])
def test_the_last_checkpoint_is_waited_for_and_its_failure_is_an_error(
    asynchronous: str,
    corpus: Path,
    beside: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = tmp_path / "run"
    short = beside | {"train.async_save": asynchronous, "train.steps": 2}
    with largest_file():
        assert run_command(pretrain, pretrain_arguments(corpus, run_dir, short)) == BAD_INPUT
    assert "step-00000002 failed: " in (said := capsys.readouterr().err)
    assert "check the path, its permissions and the free space" in said
    assert (run_dir / "outcome").read_text() == "failed\n"
    assert saved_steps(run_dir) == []
    assert not (run_dir / "latest_step").exists()


def test_a_signal_saves_its_own_step_after_the_save_that_is_under_way(
    corpus: Path, beside: dict[str, object], tmp_path: Path, pace: Pace
) -> None:
    run_dir = tmp_path / "run"
    pace.write_after(5)
    pace.actions = {4: lambda: os.kill(os.getpid(), signal.SIGTERM)}
    assert run_command(pretrain, pretrain_arguments(corpus, run_dir, beside)) == STOPPED
    steps = saved_steps(run_dir)
    assert steps[0] == 4
    assert steps[1] in (5, 6)
    assert (run_dir / "latest_step").read_text() == f"{steps[1]}\n"


def test_a_save_that_is_under_way_when_training_fails_is_completed(
    corpus: Path, beside: dict[str, object], tmp_path: Path, pace: Pace
) -> None:
    def fail() -> None:
        threading.Timer(0.3, pace._taken(99).set).start()
        raise NullsError("out of luck")

    pace.write_after(99)
    pace.actions = {5: fail}
    with pytest.raises(NullsError, match="out of luck"):
        pretrain(pretrain_arguments(corpus, tmp_path / "run", beside))
    assert saved_steps(tmp_path / "run") == [4]


@pytest.mark.slow
def test_a_rank_that_cannot_write_fails_the_save_of_all(
    corpus: Path, beside: dict[str, object], tmp_path: Path
) -> None:
    """The second of two processes may write no large files for a while."""
    run_dir = tmp_path / "run"
    wanted = beside | {"train.steps": 400, "train.save_every": 20}
    arguments = pretrain_arguments(corpus, run_dir, wanted)
    job = start(arguments, num_processes=2, launcher=torchrun_environment)
    rank_1, unlimited = job.processes[1].pid, resource.RLIM_INFINITY
    limits = (LARGEST_FILE, unlimited)
    resource.prlimit(rank_1, resource.RLIMIT_FSIZE, limits)
    job.wait_for(run_dir / "metrics.jsonl")
    deadline = time.monotonic() + 60
    while f'"{FAILED}": 0' in (run_dir / "metrics.jsonl").read_text().splitlines()[-1]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    resource.prlimit(rank_1, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    job.send(signal.SIGTERM)
    said = job.wait(expected=STOPPED)
    assert "failed: rank 1: " in said
    assert "File too large" in said
    assert "training goes on" in said
    steps = saved_steps(run_dir)
    assert steps
    assert 20 not in steps
    assert len(list(Checkpoint(list_checkpoints(run_dir)[-1]).verify())) == 11


def test_every_rank_flushes_its_files_before_rank_0_hears_of_them(
    corpus: Path, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    announced: list[set[str]] = []
    sync, leave_note = durable.sync_path, parts._leave_note

    def sync_path(path: Path) -> None:
        sync(path)
        synced.append(path.as_posix())

    def leave_and_tell(*arguments: Any) -> None:
        announced.append(set(synced))
        leave_note(*arguments)

    monkeypatch.setattr(durable, "sync_path", sync_path)
    monkeypatch.setattr(parts, "_leave_note", leave_and_tell)
    short = settings | {"train.steps": 1}
    pretrain(pretrain_arguments(corpus, tmp_path / "run", short))
    saved = Checkpoint(step_directory(tmp_path / "run", 1))
    partial = durable.partial_directory(saved.root)
    written = {
        f"{partial.as_posix()}/{name}"
        for name in saved.files
        if name.startswith(("weights/", "optimizer/"))
    }
    assert len(written) == 6
    assert written <= announced[0]


def test_rank_0_decides_whether_a_step_is_saved_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that does not see the checkpoint yet must not wait for a save that never comes."""
    from nulls_dist.train.saving import CheckpointSaver

    def broadcast_object_list(objects: list[Any], src: int) -> None:
        assert (objects, src) == ([(False, "")], 0)
        objects[0] = (True, "")

    monkeypatch.setattr(dist, "broadcast_object_list", broadcast_object_list)
    topology = SimpleNamespace(rank=1)
    run: Any = SimpleNamespace(run_dir=tmp_path, groups=SimpleNamespace(topology=topology))
    CheckpointSaver(run, None, []).save(3, wait=True)
    assert not list(tmp_path.iterdir())
