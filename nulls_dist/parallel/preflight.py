"""Let all ranks add up numbers once, before a run relies on it: `srun -m ... DIR`.

A rank that has reached the others' meeting point leaves DIR/NODE.LOCAL_RANK. So whoever started the
ranks can tell nodes that cannot be reached from an interconnect that fails between nodes.
"""

import argparse
import datetime
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.config.environment import LaunchedProcess, read_launch
from nulls_dist.errors import TemporaryError

_NUM_VALUES: Final = 1 << 20
"""4 MB: enough to leave the path for small messages."""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = CommandParser(
        prog="python -m nulls_dist.parallel.preflight",
        summary="Let all ranks meet and add up numbers; fails where they cannot.",
        examples=("srun --ntasks-per-node=8 python -m nulls_dist.parallel.preflight met",),
    )
    parser.add_argument("met", type=Path, metavar="DIR", help="gets a file per rank that came")
    parser.add_argument("--timeout", type=positive_int, default=180, metavar="S")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = build_parser().parse_args(argv)
    launch = read_launch()
    try:
        meet(launch, args.met, timeout=datetime.timedelta(seconds=args.timeout))
    except RuntimeError as error:  # what torch raises for all that networks and GPUs do
        raise TemporaryError(f"rank {launch.rank}: {error}") from error


def meet(launch: LaunchedProcess, met: Path, *, timeout: datetime.timedelta) -> None:
    """Add up one number per rank, on all ranks.

    Args:
        launch: this process's place among the others.
        met: gets this rank's file as soon as the meeting point was reached.
        timeout: of reaching it, and of adding up.

    Raises:
        RuntimeError: this was not possible.
        TemporaryError: the sum is wrong.
    """
    import torch
    import torch.distributed as dist

    from nulls_dist.parallel.accelerator import select_accelerator

    accelerator = select_accelerator(launch.local_rank)
    values = torch.full((_NUM_VALUES,), launch.rank + 1.0, device=accelerator.device)
    store = dist.TCPStore(  # type: ignore[attr-defined]
        launch.master_address,
        launch.master_port,
        launch.world_size,
        is_master=launch.rank == 0,
        timeout=timeout,
        wait_for_workers=False,
    )
    node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    (met / f"{node}.{launch.local_rank}").touch()
    dist.init_process_group(
        accelerator.backend,
        store=store,
        rank=launch.rank,
        world_size=launch.world_size,
        timeout=timeout,
    )
    try:
        dist.all_reduce(values)
        expected = launch.world_size * (launch.world_size + 1) / 2
        if not bool((values == expected).all()):
            raise TemporaryError(
                f"rank {launch.rank}: the sum over {launch.world_size} ranks is "
                f"{values.min().item()} to {values.max().item()}, not {expected}"
            )
        dist.barrier()
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(run_command(main))
