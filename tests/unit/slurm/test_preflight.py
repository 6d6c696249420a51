"""slurm/preflight.sh on this machine, with a stand-in for nvidia-smi; and ranks that meet."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from nulls_dist.parallel.preflight import main
from tests.launch import ROOT, free_port, srun_environment, start_module

PREFLIGHT = ROOT / "slurm" / "preflight.sh"
NODE = "node-7"


def look_at_node(
    folder: Path, gpus: str | None = None, *, seconds: float = 0, **settings: str
) -> tuple[int, str]:
    """Exit code and output of the check, with these GPUs and a clock that is off by `seconds`."""
    commands, fit = folder / "bin", folder / "fit"
    commands.mkdir()
    fit.mkdir()
    if gpus is not None:
        (commands / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{gpus}\nEND\n")
        (commands / "nvidia-smi").chmod(0o755)
    started_at = str(int(time.time() - seconds))
    done = subprocess.run(
        ["bash", str(PREFLIGHT), folder, fit, started_at],
        env={
            "PATH": f"{commands}:{os.environ['PATH']}",
            "SLURMD_NODENAME": NODE,
            "NULLS_MIN_RUN_GB": "0",
            "NULLS_MIN_TMP_GB": "0",
            **settings,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert [path.name for path in fit.iterdir()] == ([f"{NODE}.0"] if done.returncode == 0 else [])
    return done.returncode, done.stdout


def test_a_node_with_idle_gpus_is_fit(tmp_path: Path) -> None:
    gpus = "0, 4, 31, 0\n1, 4, 33, [N/A]"
    assert look_at_node(tmp_path, gpus, SLURM_GPUS_ON_NODE="2") == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "fit"]


@pytest.mark.parametrize(
    ("gpus", "settings", "seconds", "reason"),
    [
        ("0, 4, 31, 0", {"SLURM_GPUS_ON_NODE": "2"}, 0, "1 GPUs, not 2"),
        ("0, 70000, 31, 0", {}, 0, "GPU 0: 70000 MB are in use, by another job"),
        ("0, 4, 95, 0", {}, 0, "GPU 0: 95 degrees C"),
        ("0, 4, 31, 0\n1, 4, 31, 12", {}, 0, "GPU 1: 12 uncorrected memory errors"),
        (None, {"NULLS_IB_PORTS": "99"}, 0, "InfiniBand ports are up, not 99"),
        (None, {"NULLS_MIN_RUN_GB": "999999999"}, 0, "GB are free, not 999999999"),
        (None, {"NULLS_NODE_CHECK": "false"}, 0, "NULLS_NODE_CHECK failed: false"),
        (None, {}, 3600, "s ahead of the first node's"),
        (None, {}, -3600, "the clock is -3"),
    ],
)
def test_an_unfit_node_says_why(
    gpus: str | None, settings: dict[str, str], seconds: float, reason: str, tmp_path: Path
) -> None:
    code, said = look_at_node(tmp_path, gpus, seconds=seconds, **settings)
    assert code == 1
    assert said.startswith(f"{NODE}: ")
    assert reason in said


def test_a_node_that_cannot_write_the_run_directory_is_unfit(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = subprocess.run(
        ["bash", str(PREFLIGHT), missing, tmp_path, str(int(time.time()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{missing} cannot be written" in done.stdout


@pytest.mark.distributed
def test_two_ranks_meet_and_add_up(tmp_path: Path) -> None:
    words = ["nulls_dist.parallel.preflight", str(tmp_path)]
    start_module(words, num_processes=2, launcher=srun_environment).wait()
    node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    assert {path.name for path in tmp_path.iterdir()} == {f"{node}.0", f"{node}.1"}


def test_a_rank_that_waits_for_another_in_vain_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nulls_dist.errors import TemporaryError

    for name, value in srun_environment(0, 2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    with pytest.raises(TemporaryError, match="rank 0: "):
        main([str(tmp_path), "--timeout", "1"])
    assert len(list(tmp_path.iterdir())) == 1  # it did come
