"""Rank and world size, whichever launcher set them."""

import os

import pytest

from nulls_dist.config.environment import LaunchedProcess, read_launch
from nulls_dist.errors import ConfigError

ADDRESS = {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "2",
}
SLURM = {"SLURM_PROCID": "6", "SLURM_NTASKS": "16", "SLURM_LOCALID": "3"}
STEP = {"SLURM_STEP_ID": "0"}
PLAIN = LaunchedProcess(
    launcher="python", rank=0, world_size=1, local_rank=0, master_address="127.0.0.1", master_port=0
)


@pytest.fixture
def launch(monkeypatch):
    """Read the launch from exactly the given variables."""

    def read(*variables):
        for name in (*os.environ,):
            if name in ADDRESS or "RANK" in name or name.startswith(("SLURM_", "OMPI_", "WORLD_")):
                monkeypatch.delenv(name)
        for name, value in {k: v for part in variables for k, v in part.items()}.items():
            monkeypatch.setenv(name, value)
        return read_launch()

    return read


@pytest.mark.parametrize(
    ("variables", "launcher", "place"),
    [
        ((TORCHRUN,), "torchrun or deepspeed", (3, 4, 1)),
        ((MPIRUN,), "mpirun", (5, 8, 2)),
        ((SLURM, STEP), "srun", (6, 16, 3)),
        ((TORCHRUN, SLURM, STEP), "torchrun or deepspeed", (3, 4, 1)),
        ((MPIRUN, SLURM, STEP), "mpirun", (5, 8, 2)),
    ],
)
def test_each_launcher_is_understood_the_innermost_first(launch, variables, launcher, place):
    found = launch(*variables, ADDRESS)
    assert found.launcher == launcher
    assert (found.rank, found.world_size, found.local_rank) == place
    assert (found.master_address, found.master_port) == ("node1", 29500)


def test_without_a_launcher_there_is_one_process(launch):
    assert launch() == PLAIN


def test_the_shell_of_a_batch_job_is_no_launcher(launch):
    assert launch(SLURM) == PLAIN


def test_half_a_launcher_is_none(launch):
    assert launch({"RANK": "1"}, {"SLURM_PROCID": "1"}, STEP) == PLAIN


def test_one_launched_process_needs_no_address_and_no_local_rank(launch):
    found = launch({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, STEP)
    assert (found.launcher, found.rank, found.local_rank) == ("srun", 0, 0)
    assert (found.master_address, found.master_port) == ("127.0.0.1", 0)


@pytest.mark.parametrize("missing", [("MASTER_ADDR",), ("MASTER_PORT",), tuple(ADDRESS)])
@pytest.mark.parametrize("variables", [(TORCHRUN,), (MPIRUN,), (SLURM, STEP)])
def test_several_processes_without_an_address_are_told_what_to_set(launch, variables, missing):
    address = {name: value for name, value in ADDRESS.items() if name not in missing}
    with pytest.raises(
        ConfigError, match=r"started \d+ processes, but MASTER_ADDR and MASTER_PORT"
    ):
        launch(*variables, address)


@pytest.mark.parametrize("text", ["", "one", "-1", "1.0", " 1", "0x1", "\u00b2"])
@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"])
def test_a_malformed_number_is_named(launch, name, text):
    with pytest.raises(ConfigError) as caught:
        launch(TORCHRUN, ADDRESS, {name: text})
    assert f"environment variable {name} ({text!r}) must be a whole number" in str(caught.value)


@pytest.mark.parametrize(("rank", "world"), [("4", "4"), ("9", "4"), ("0", "0")])
def test_a_rank_outside_its_world_is_refused(launch, rank, world):
    with pytest.raises(ConfigError, match=rf"RANK \({rank}\) must be below WORLD_SIZE \({world}\)"):
        launch(ADDRESS, {"RANK": rank, "WORLD_SIZE": world})


def test_several_processes_without_a_local_rank_are_told_what_to_set(monkeypatch):
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "node",
        "MASTER_PORT": "2000",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ConfigError, match="LOCAL_RANK is not set"):
        read_launch()
