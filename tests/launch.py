"""Run the training command line: in this process, or in processes of its own."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 100.0
LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
STOPPED = 75
TRAINING = "nulls_dist.pretrain"


def build_small_corpus(out: Path) -> Path:
    """Write a corpus of 24 invented sources of 8 documents, most of them a few words, some long.

    So rows, microbatches and ranks hold different numbers of documents and of targets.
    """
    from data_prep.documents import Document, split_items
    from data_prep.generated.encyclopedia import EncyclopediaSpec
    from data_prep.pipeline import BuildOptions, build_corpus
    from data_prep.readers import open_generated

    reader = open_generated(EncyclopediaSpec(articles=24, renderings=8, seed=0), name="uneven")
    draws = random.Random(0)
    shortened = []
    for item in (item for part in reader.parts() for item in part()):
        assert isinstance(item, Document)
        words = item.text.split()[: draws.choice((1, 2, 3) * 10 + (200,))]
        shortened.append(replace(item, text=" ".join(words)))
    reader = replace(reader, parts=lambda: split_items(shortened), write_facts=None)
    build_corpus(reader, BuildOptions(tokenizer="train:bpe:400", num_partitions=4), out)
    return out


def pretrain_arguments(
    corpus: Path, run_dir: Path, settings: Mapping[str, object], *options: str
) -> list[str]:
    """Arguments of the training command for the tiny preset."""
    overrides = [f"--set={name}={value}" for name, value in settings.items()]
    places = ["--preset", "nulls_tiny", "--data", str(corpus), "--run-dir", str(run_dir)]
    return [*places, *overrides, *options]


def free_port() -> int:
    """A TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def torchrun_environment(rank: int, world_size: int) -> dict[str, str]:
    """What torchrun tells a process, by hand: torchrun itself turns every exit code into 1."""
    return {"RANK": str(rank), "WORLD_SIZE": str(world_size), "LOCAL_RANK": str(rank)}


def mpirun_environment(rank: int, world_size: int) -> dict[str, str]:
    """What Open MPI's mpirun tells a process."""
    names = ("RANK", "SIZE", "LOCAL_RANK")
    values = (rank, world_size, rank)
    return {
        f"OMPI_COMM_WORLD_{name}": str(value) for name, value in zip(names, values, strict=True)
    }


def srun_environment(rank: int, world_size: int) -> dict[str, str]:
    """What srun tells a task."""
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_NTASKS": str(world_size),
        "SLURM_LOCALID": str(rank),
        "SLURM_STEP_ID": "0",
    }


Launcher = Callable[[int, int], dict[str, str]]


@dataclass
class Job:
    """Processes of one run."""

    processes: list[subprocess.Popen[str]]

    def send(self, number: signal.Signals, rank: int = 0) -> None:
        """Send a signal to one process."""
        self.processes[rank].send_signal(number)

    def wait(self, expected: int = 0) -> str:
        """Wait for all processes; return what they said.

        Args:
            expected: exit code that each must have.
        """
        deadline = time.monotonic() + TIMEOUT_S
        output = ""
        try:
            for process in self.processes:
                output += process.communicate(timeout=max(1.0, deadline - time.monotonic()))[0]
        except subprocess.TimeoutExpired:
            output += f"\nno end after {TIMEOUT_S} s"
        output += self.end()
        codes = [process.returncode for process in self.processes]
        assert codes == [expected] * len(codes), f"exit codes {codes}; it said:\n{output}"
        return output

    def wait_for(self, path: Path) -> None:
        """Wait until a file has contents; fail if a process ends before."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (path.exists() and path.stat().st_size):
            ended = any(process.poll() is not None for process in self.processes)
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"no {path}; it said:\n{self.end()}")
            time.sleep(0.002)

    def end(self) -> str:
        """Kill what is left, children included; return what it said."""
        output = ""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not process.stdout.closed:
                output += process.communicate()[0]
        return output


def start(
    arguments: Sequence[str],
    *,
    num_processes: int = 1,
    launcher: Launcher | None = None,
    module: str = TRAINING,
) -> Job:
    """Start the training command: plain python, or processes as a launcher would start them."""
    return start_module([module, *arguments], num_processes=num_processes, launcher=launcher)


def start_module(
    words: Sequence[str], *, num_processes: int = 1, launcher: Launcher | None = None
) -> Job:
    """Start a module with its arguments, as `start` does."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    told = [
        address | launcher(rank, num_processes) if launcher else {} for rank in range(num_processes)
    ]
    return Job([_start([sys.executable, "-m", *words], extra) for extra in told])


def start_torchrun(arguments: Sequence[str], *, num_processes: int) -> Job:
    """Start the training command under torchrun."""
    options = ["--nproc-per-node", str(num_processes), "--master-port", str(free_port())]
    launcher = [sys.executable, "-m", "torch.distributed.run", *options, "-m"]
    return Job([_start([*launcher, TRAINING, *arguments], {})])


def _start(words: list[str], extra: dict[str, str]) -> subprocess.Popen[str]:
    foreign = ("OMPI_", "SLURM_")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHER_VARIABLES and not name.startswith(foreign)
    }
    return subprocess.Popen(
        words,
        env=inherited | {"OMP_NUM_THREADS": "1"} | extra,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
