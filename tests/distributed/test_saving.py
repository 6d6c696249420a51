"""What ranks that do not see the same file system owe each other when they save."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist

from nulls_dist import durable
from nulls_dist.checkpoint.store import Checkpoint, step_directory
from nulls_dist.pretrain import main as pretrain
from tests.launch import pretrain_arguments

pytestmark = pytest.mark.distributed


def test_every_rank_flushes_its_files_before_rank_0_hears_of_them(
    corpus: Path, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    announced: list[set[str]] = []
    sync, gather = durable.sync_path, dist.all_gather_object

    def sync_path(path: Path) -> None:
        sync(path)
        synced.append(path.as_posix())

    def all_gather_object(gathered: list[Any], records: Any) -> None:
        announced.append(set(synced))
        gather(gathered, records)

    monkeypatch.setattr(durable, "sync_path", sync_path)
    monkeypatch.setattr(dist, "all_gather_object", all_gather_object)
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
    from nulls_dist.train.checkpointing import save_checkpoint

    def broadcast_object_list(objects: list[Any], src: int) -> None:
        assert (objects, src) == ([False], 0)
        objects[0] = True

    monkeypatch.setattr(dist, "broadcast_object_list", broadcast_object_list)
    run: Any = SimpleNamespace(run_dir=tmp_path, groups=SimpleNamespace(topology=None))
    assert save_checkpoint(run, None, 3) == step_directory(tmp_path, 3)
    assert not list(tmp_path.iterdir())
