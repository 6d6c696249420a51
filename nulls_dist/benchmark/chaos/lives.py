"""Lives of a run whose ranks are forked from a server that has imported everything already.

A rank is otherwise what a launcher starts: the training command with its arguments, environment,
exit code and output.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.fleet import free_ports, rank_environment

_POLL_S: Final = 0.01
_TIMEOUT_S: Final = 7_200.0
_TAIL: Final = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """The processes of one life."""

    processes: list[BaseProcess]
    logs: list[Path]

    def send(self, number: signal.Signals, rank: int) -> None:
        """Send a signal to a rank; nothing happens where it has ended."""
        process = self.processes[rank]
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)

    def wait_until(self, happened: Callable[[], bool]) -> bool:
        """Wait for something; say whether it happened before any rank ended."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not happened():
            if time.monotonic() > deadline or not all(each.is_alive() for each in self.processes):
                return False
            time.sleep(_POLL_S)
        return True

    def wait(self, timeout_s: float = _TIMEOUT_S) -> list[int | None]:
        """Wait for all ranks and kill what is left; return exit codes, None for who was left."""
        deadline = time.monotonic() + timeout_s
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
            process.join()
        return codes

    def said(self) -> str:
        """Return the end of what each rank wrote."""
        return "\n".join(log.read_text(errors="replace")[-_TAIL:] for log in self.logs)


class Launcher:
    """Starts lives."""

    def __init__(self) -> None:
        """Start the server with the first life."""
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["nulls_dist.benchmark.chaos.imports"])

    def start(self, arguments: Sequence[str], *, num_processes: int, logs: Path) -> Life:
        """Start a life.

        Args:
            arguments: of the training command.
            num_processes: that train together.
            logs: folder for what they say; a later life replaces it.
        """
        logs.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        files = [logs / f"rank-{rank}.log" for rank in range(num_processes)]
        processes = []
        for rank, log in enumerate(files):
            told = {**rank_environment(rank, num_processes), "MASTER_PORT": str(port)}
            process = self._context.Process(
                target=_be_rank, args=(tuple(arguments), told, log), daemon=True
            )
            process.start()
            processes.append(process)
        return Life(processes=list(processes), logs=files)


def _be_rank(arguments: Sequence[str], told: dict[str, str], log: Path) -> None:
    """Be a rank; ends the process."""
    descriptor = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    os.environ.clear()
    os.environ.update(told)
    from nulls_dist.cli import run_command
    from nulls_dist.pretrain import main

    sys.exit(run_command(main, arguments))
