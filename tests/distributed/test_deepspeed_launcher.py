"""The deepspeed launcher starts training as torchrun does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoint_contents import read_metrics
from tests.launch import ROOT, free_port, pretrain_arguments


@pytest.mark.slow
@pytest.mark.distributed
def test_the_deepspeed_launcher_trains_like_torchrun(
    corpus: Path, two_experts: Path, settings: dict[str, object], tmp_path: Path
) -> None:
    launcher = Path(sys.executable).with_name("deepspeed")
    processes = ["--num_accelerators", "2", "--master_port", str(free_port()), "--module"]
    arguments = pretrain_arguments(corpus, tmp_path / "run", settings)
    subprocess.run(
        [str(launcher), *processes, "nulls_dist.pretrain", *arguments],
        cwd=ROOT,
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        check=True,
    )
    found, expected = (read_metrics(run) for run in (tmp_path / "run", two_experts))
    assert [line["train/loss_nats"] for line in found] == [
        line["train/loss_nats"] for line in expected
    ]
