"""A throw-away Slurm, and jobs in it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.checkpoint_contents import read_metrics

ROOT = Path(__file__).parents[2]
LOCAL_SLURM = Path(__file__).parent / "local_slurm.sh"
TIMEOUT_S = 180.0
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"}


@dataclass(frozen=True)
class Cluster:
    """A running Slurm whose nodes are named 127.0.0.1, 127.0.0.2, ..."""

    folder: Path
    environment: dict[str, str]

    @classmethod
    def start(cls, folder: Path, *, nodes: int, port: int) -> "Cluster":
        """Start one in an unused folder."""
        subprocess.run([LOCAL_SLURM, "up", folder, str(nodes), str(port)], check=True)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not re.match(r"(SLURM|SBATCH|NULLS|OMPI)_|PYTHONPATH$", name)
        }
        return cls(folder, {**inherited, "SLURM_CONF": str(folder / "slurm.conf")})

    def stop(self) -> None:
        """End it with its jobs."""
        subprocess.run([LOCAL_SLURM, "down", self.folder], check=True)

    def run(self, *words: str, **settings: str) -> str:
        """Run a command of Slurm in the checkout; return what it said."""
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=self.environment | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}"
        return done.stdout

    def submit(self, *words: str, name: str, run_dir: Path | None = None, **settings: str) -> "Job":
        """Submit a job; `words` are options of sbatch, the script and its arguments."""
        log = self.folder / f"{name}-%j.log"
        told = settings | ({"NULLS_RUN_DIR": str(run_dir)} if run_dir else {})
        number = self.run("sbatch", "--parsable", f"-J{name}", f"-o{log}", *words, **told).strip()
        return Job(self, number, Path(str(log).replace("%j", number)), run_dir or Path())


@dataclass(frozen=True)
class Job:
    """A job, and the run it trains where it trains one."""

    cluster: Cluster
    number: str
    log: Path
    run_dir: Path

    def show(self, field: str) -> str:
        """Return a field of `scontrol show job`."""
        shown = self.cluster.run("scontrol", "show", "job", "--oneliner", self.number)
        found = re.search(rf"(?:^| ){field}=(\S*)", shown)
        assert found is not None, f"{field} in {shown}"
        return found[1]

    def wait(self, state: str = "COMPLETED") -> str:
        """Wait for the end, in this state; return the job's log."""
        self.until(lambda: self.show("JobState") in ENDED, "end")
        assert self.show("JobState") == state, self.said()
        return self.said()

    def wait_for_log(self, text: str) -> None:
        """Wait until the job has said something."""
        self.until(lambda: self.log.exists() and text in self.log.read_text(), text)

    def wait_for_step(self, step: int) -> None:
        """Wait until the run has done a step."""
        path = self.run_dir / "metrics.jsonl"
        self.until(
            lambda: path.exists() and len(read_metrics(self.run_dir)) >= step, f"step {step}", 0.01
        )

    def until(self, condition: Callable[[], bool], what: str, pause_s: float = 0.3) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what} after {TIMEOUT_S} s; {self.said()}"
            time.sleep(pause_s)

    def said(self) -> str:
        """What the job and its ranks said."""
        logs = sorted(self.run_dir.glob("log/*/*.log")) if self.run_dir != Path() else []
        return "\n".join(
            f"--- {path}\n{path.read_text()}" for path in (self.log, *logs) if path.exists()
        )

    def send(self, number: signal.Signals, rank: int) -> None:
        """Send a signal to the process of a rank that trains."""
        process = self._process(rank)
        assert process is not None, f"no rank {rank}; {self.said()}"
        os.kill(process, number)

    def _process(self, rank: int) -> int | None:
        wanted = {f"SLURM_JOB_ID={self.number}".encode(), f"SLURM_PROCID={rank}".encode()}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if b"nulls_dist.pretrain" not in words or b"rank" in words:  # the latter: its shell
                    continue
                if wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                    return int(folder.name)
            except (OSError, ProcessLookupError):
                continue
        return None
