"""Real training jobs that start in a moment, so that hundreds of them can be killed.

A server process imports everything once and forks each rank; from there on a rank is what a
launcher starts: `nulls_dist.pretrain` with its arguments, environment, exit code and output.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.fleet import free_ports

_POLL_S: Final = 0.002
_TIMEOUT_S: Final = 180.0
_LAUNCHERS: Final = ("OMPI_", "SLURM_")
_PRELOAD: Final = "nulls_dist.benchmark.faults.preload"


@dataclass(frozen=True, kw_only=True, slots=True)
class RankTask:
    """What one rank of a job does."""

    rank: int
    num_ranks: int
    port: int
    arguments: tuple[str, ...]
    """Of the training command."""
    log: Path
    largest_file: int = resource.RLIM_INFINITY
    """Bytes; the kernel refuses longer files."""
    poison: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    """As `poison.Spoil` takes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The ranks of one life of a run."""

    ranks: list[BaseProcess]
    logs: list[Path]

    def send(self, number: signal.Signals, rank: int) -> None:
        """Send a signal to one rank; nothing where it has ended."""
        process = self.ranks[rank]
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)

    def wait_until(self, happened: Callable[[], bool]) -> bool:
        """Wait for something; say whether it happened before a rank ended."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not happened():
            if time.monotonic() > deadline or not all(each.is_alive() for each in self.ranks):
                return False
            time.sleep(_POLL_S)
        return True

    def wait(self, timeout_s: float = _TIMEOUT_S) -> list[int | None]:
        """Wait for all ranks; return their exit codes, None for one that has not ended in time."""
        deadline = time.monotonic() + timeout_s
        for process in self.ranks:
            process.join(max(0.0, deadline - time.monotonic()))
        codes = [process.exitcode for process in self.ranks]
        self.kill()
        return codes

    def kill(self) -> None:
        """Kill what is left, stopped ranks too."""
        for process in self.ranks:
            process.kill()
            process.join()

    def said(self) -> str:
        """Return what all ranks wrote."""
        written = [log.read_bytes() for log in self.logs if log.exists()]
        return b"\n".join(written).decode("utf-8", errors="replace")


class Crew:
    """Starts jobs."""

    def __init__(self) -> None:
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([_PRELOAD])

    def start(
        self,
        arguments: Sequence[str],
        *,
        logs: Path,
        num_ranks: int = 2,
        largest_file: int = resource.RLIM_INFINITY,
        poison: Mapping[int, tuple[str, int]] | None = None,
    ) -> Job:
        """Start the ranks of a job.

        Args:
            arguments: of the training command.
            logs: folder for what they say; files of an earlier job are replaced.
            num_ranks: how many.
            largest_file: bytes; none of them can write longer files.
            poison: what to spoil, as `poison.Spoil` takes it.
        """
        logs.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        tasks = [
            RankTask(
                rank=rank,
                num_ranks=num_ranks,
                port=port,
                arguments=tuple(arguments),
                log=logs / f"rank-{rank}.log",
                largest_file=largest_file,
                poison=dict(poison or {}),
            )
            for rank in range(num_ranks)
        ]
        ranks = [self._context.Process(target=_run_rank, args=(task,)) for task in tasks]
        for task in tasks:
            task.log.unlink(missing_ok=True)
        for process in ranks:
            process.daemon = True  # ended with this process at the latest
            process.start()
        return Job(ranks=list(ranks), logs=[task.log for task in tasks])


def _run_rank(task: RankTask) -> None:
    """Be a rank; ends the process."""
    log = os.open(task.log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    for name in [name for name in os.environ if name.startswith(_LAUNCHERS)]:
        del os.environ[name]
    os.environ |= {
        "RANK": str(task.rank),
        "LOCAL_RANK": str(task.rank),
        "WORLD_SIZE": str(task.num_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(task.port),
    }
    from nulls_dist.benchmark.faults.poison import poisoned
    from nulls_dist.cli import run_command
    from nulls_dist.pretrain import main

    with ExitStack() as stack:
        if task.poison:
            stack.enter_context(poisoned(task.poison))
        limit = (task.largest_file, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        code = run_command(main, task.arguments)
    sys.exit(code)
