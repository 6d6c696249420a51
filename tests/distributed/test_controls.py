"""Dense controls from the command line: the same data, no trace of sinks, a release that agrees."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nulls_dist.checkpoint.store import Checkpoint, step_directory
from nulls_dist.cli import run_command
from nulls_dist.pretrain import main as pretrain
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_contents import read_metrics
from tests.launch import pretrain_arguments
from tools import convert_to_hf, verify_checkpoint

pytestmark = pytest.mark.distributed

USAGE = 2


def test_a_control_meets_the_data_of_the_run_with_sinks(
    dense_one_process: Path, one_process: Path
) -> None:
    for dense, sunk in zip(read_metrics(dense_one_process), read_metrics(one_process), strict=True):
        for name in ("step", "train/targets", "train/tokens", "train/learning_rate"):
            assert dense[name] == sunk[name]
    one, two = (Checkpoint(step_directory(run, 8)) for run in (dense_one_process, one_process))
    assert np.array_equal(one.manifest.bucket_table, two.manifest.bucket_table)
    assert one.path("data.json").read_bytes() == two.path("data.json").read_bytes()


def test_metrics_and_files_of_a_control_know_no_sinks(dense_two_processes: Path) -> None:
    for line in read_metrics(dense_two_processes):
        states = [name for name in line if name.startswith(("eval/", "sinks/"))]
        assert states == ["eval/loss_off_nats"]
    last = Checkpoint(step_directory(dense_two_processes, 8))
    assert not [file for file in last.files if "sinks" in file]
    described = json.loads(last.path("run.json").read_text())["config"]
    assert described["preset"] == "nulls_tiny_active_control"
    assert run_command(verify_checkpoint.main, [str(last.root)]) == 0


def test_a_release_computes_what_the_checkpoint_computes(
    dense_two_processes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    from nulls_dist.eval.inference import load_for_inference

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    root, out = step_directory(dense_two_processes, 8), tmp_path / "release"
    assert run_command(convert_to_hf.main, [str(root), str(out), "--form=backbone"]) == 0
    tokens = torch.randint(0, 300, (50,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        released = AutoModelForCausalLM.from_pretrained(out).eval()(tokens[None]).logits[0]
    with load_for_inference(root) as model:
        (own,) = model.logits([tokens.tolist()], [NO_SOURCE])
    assert released.std() > 0.1
    torch.testing.assert_close(released, own, rtol=1e-5, atol=1e-5)


def test_a_run_with_sinks_does_not_continue_as_its_control(
    one_process: Path,
    corpus: Path,
    settings: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = pretrain_arguments(corpus, one_process, settings, "--control=active")
    assert run_command(pretrain, arguments) == USAGE
    said = capsys.readouterr().err
    assert "model.num_backbone (72) differs from the checkpoint" in said
    assert "resume with the same preset, --control and overrides" in said
