"""A run can be watched and steered by files, and every file of its directory is documented."""

import re
from pathlib import Path

import pytest

from nulls_dist.checkpoint.store import list_checkpoints
from nulls_dist.cli import run_command
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.pretrain import main as pretrain
from nulls_dist.train.inspection import inspect_run
from tests.checkpoint_contents import check_equal_contents
from tests.launch import ROOT, STOPPED, pretrain_arguments

pytestmark = pytest.mark.distributed


@pytest.fixture
def touch_before(monkeypatch: pytest.MonkeyPatch) -> dict[int, Path]:
    """Steps, from 1 -> file that a person makes just before its beginning."""
    select_accelerator(0)  # before DeepSpeed is imported, which looks for one itself
    from nulls_dist.train import requests

    files: dict[int, Path] = {}
    look = requests.RequestWatch.look
    steps = iter(range(1, 1000))

    def touch_and_look(watch: requests.RequestWatch) -> requests.Requests:
        step = next(steps)
        if step in files:
            files[step].touch()
        return look(watch)

    monkeypatch.setattr(requests.RequestWatch, "look", touch_and_look)
    return files


def steps_saved(run_dir: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in list_checkpoints(run_dir)]


@pytest.mark.parametrize("asynchronous", ["true", "false"])
def test_a_run_saves_and_stops_when_a_person_asks_and_ends_like_one_that_nobody_asked(
    asynchronous: str,
    one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    tmp_path: Path,
    touch_before: dict[int, Path],
) -> None:
    run_dir = tmp_path / "run"
    rare = {"train.save_every": 100, "train.eval_every": 0, "train.async_save": asynchronous}
    arguments = pretrain_arguments(corpus, run_dir, settings | rare)
    touch_before |= {2: run_dir / "SAVE", 5: run_dir / "STOP", 7: run_dir / "SAVE"}
    assert run_command(pretrain, arguments) == STOPPED
    assert steps_saved(run_dir) == [2, 5]
    assert (run_dir / "outcome").read_text() == "halted\n"
    assert not (run_dir / "STOP").exists()
    assert not (run_dir / "SAVE").exists()
    found = inspect_run(run_dir, stale_after_s=900)
    assert (found.status, found.progress.step) == ("stopped", 5)
    assert found.lives[0].end == "halted"
    pretrain(arguments)
    assert steps_saved(run_dir) == [2, 5, 7, 8]
    assert inspect_run(run_dir, stale_after_s=900).status == "finished"
    for root in list_checkpoints(run_dir):
        check_equal_contents(root, one_process / "checkpoints" / root.name)


def documented_files() -> dict[str, str]:
    """Name -> when it is there, of the table of the run directory."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = page.split("## The run directory\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", section, re.MULTILINE)
    return {name: when.strip("`") for names, when in rows for name in re.findall("`(.+?)`", names)}


def matches(path: str, name: str) -> bool:
    """Say whether a file is one of those that a name stands for: a folder for all that it holds."""
    pattern = re.sub("N+", r"\\d+", re.escape(name))
    return re.fullmatch(pattern + (".*" if name.endswith("/") else ""), path) is not None


def test_every_file_of_a_run_is_documented_and_every_documented_file_is_there(
    corpus: Path, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nulls_dist.train import guard

    monkeypatch.setattr(guard, "is_spike", lambda loss, before: len(before) == 1)
    run_dir = tmp_path / "run"
    wanted = {
        "train.steps": 3,
        "train.keep_last": 1,
        "report.exposure": "true",
        "report.tensorboard": "true",
        "report.wandb": "offline",
    }
    pretrain(pretrain_arguments(corpus, run_dir, settings | wanted, "--profile=1:2"))
    documented = documented_files()
    files = {
        path.relative_to(run_dir).as_posix()
        for path in run_dir.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    unknown = {path for path in files if not any(matches(path, name) for name in documented)}
    assert unknown == set()
    missing = {
        name
        for name, when in documented.items()
        if when not in ("by you", "Slurm") and not any(matches(path, name) for path in files)
    }
    assert missing == set()
