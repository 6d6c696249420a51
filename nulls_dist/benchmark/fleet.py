"""Several runs of the training command in the same processes, whose start takes longest."""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Final

from nulls_dist.errors import NullsError

_LAUNCHERS: Final = ("OMPI_", "SLURM_")
_PORTS: Final = range(20_000, 32_000)
_TAIL: Final = 4_000


def run_fleet(runs: Sequence[Sequence[str]], *, num_processes: int, timeout_s: float) -> None:
    """Train several times, one run after another, on the same processes.

    Args:
        runs: arguments of each `python -m nulls_dist.pretrain`.
        num_processes: that train together.
        timeout_s: for all runs together.

    Raises:
        NullsError: a process failed or took too long; the end of its output is in the message.
    """
    ports = free_ports(len(runs))
    plan = json.dumps(
        [{"port": port, "arguments": list(run)} for port, run in zip(ports, runs, strict=True)]
    )
    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(num_processes)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "nulls_dist.benchmark.fleet", plan],
                env=rank_environment(rank, num_processes),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for rank, log in enumerate(logs)
        ]
        try:
            for process, log in zip(processes, logs, strict=True):
                if process.wait(timeout_s):
                    raise NullsError(f"training failed: {_tail(log)}")
        except subprocess.TimeoutExpired:
            ends = "\n".join(map(_tail, logs))
            raise NullsError(f"no end of training after {timeout_s:.0f} s: {ends}") from None
        finally:
            for process in processes:
                process.kill()
                process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and below those that connections are given."""
    found: list[int] = []
    for port in random.Random().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise NullsError(f"no {count} free ports in {_PORTS}")


def rank_environment(rank: int, num_processes: int) -> dict[str, str]:
    """Return what torchrun would tell a process."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHERS)
    }
    return inherited | {
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
    }


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return log.read()[-_TAIL:]


def _train(plan: str) -> None:
    """Do one process's part of a fleet."""
    from nulls_dist.pretrain import main as pretrain

    for run in json.loads(plan):
        os.environ["MASTER_PORT"] = str(run["port"])
        pretrain(run["arguments"])


def metrics_of(run_dir: Path) -> list[dict[str, float]]:
    """Return the metrics of every step of a run."""
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    _train(sys.argv[1])
