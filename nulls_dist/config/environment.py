"""Which rank this process is, whatever launched it. The only place that reads the environment."""

import os
from dataclasses import dataclass
from typing import Final

from nulls_dist.errors import ConfigError

_LAUNCHERS: Final = (
    ("torchrun or deepspeed", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("srun", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchedProcess:
    """This process's place among those that train together."""

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    """Rank on this node: which accelerator to use."""
    master_address: str
    master_port: int
    """0 lets a single process choose a free port."""


ALONE: Final = LaunchedProcess(
    launcher="python", rank=0, world_size=1, local_rank=0, master_address="", master_port=0
)
"""One process, for models that are measured or asked, whatever launched it."""


def read_launch() -> LaunchedProcess:
    """Read rank and world size from whichever launcher set them; one process without any.

    A step of srun sets SLURM_STEP_ID; the shell of a batch job does not and counts as no launcher.

    Raises:
        ConfigError: the variables are not numbers, do not fit each other, or several processes
            lack an address.
    """
    for launcher, rank_name, world_name, local_name in _LAUNCHERS:
        if rank_name not in os.environ or world_name not in os.environ:
            continue
        if launcher == "srun" and "SLURM_STEP_ID" not in os.environ:
            continue
        rank, world_size = _number(rank_name), _number(world_name)
        if rank >= world_size:
            raise ConfigError(
                f"environment variable {rank_name} ({rank}) must be below {world_name} "
                f"({world_size})"
            )
        if world_size > 1 and not {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
            raise ConfigError(
                f"{launcher} started {world_size} processes, but MASTER_ADDR and MASTER_PORT are "
                "not set; set them to the first node and a free port"
            )
        return LaunchedProcess(
            launcher=launcher,
            rank=rank,
            world_size=world_size,
            local_rank=_local_rank(launcher, local_name, world_size),
            master_address=os.environ.get("MASTER_ADDR", "127.0.0.1"),
            master_port=_number("MASTER_PORT") if "MASTER_PORT" in os.environ else 0,
        )
    return LaunchedProcess(
        launcher="python",
        rank=0,
        world_size=1,
        local_rank=0,
        master_address="127.0.0.1",
        master_port=0,
    )


def _local_rank(launcher: str, variable: str, world_size: int) -> int:
    if variable in os.environ:
        return _number(variable)
    if world_size > 1:
        raise ConfigError(
            f"{launcher} started {world_size} processes, but {variable} is not set: it says which "
            "accelerator of the node is whose; set it to this process's rank on its node"
        )
    return 0


def _number(name: str) -> int:
    text = os.environ[name]
    if not text.isdecimal():
        raise ConfigError(f"environment variable {name} ({text!r}) must be a whole number")
    return int(text)
