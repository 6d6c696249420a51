"""Builds as a user starts them, each in processes of its own, measured from outside."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nulls_dist.errors import NullsError


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildCost:
    """What one build took."""

    wall_s: float
    cpu_s: float
    """Of all its processes."""
    peak_mib: float
    """Resident memory of the largest of its processes, mapped files included."""

    def to_dict(self) -> dict[str, float]:
        """Return JSON-ready values."""
        return asdict(self)


def find_mpirun() -> str | None:
    """Return the path of mpirun: beside this interpreter, else on the path."""
    return shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def measure_build(
    dump: Path, out: Path, *, tokenizer: str, workers: int = 1, launcher: Sequence[str] = ()
) -> BuildCost:
    """Build a corpus and say what that took.

    Args:
        dump: of Wikipedia.
        out: of the corpus; it must not exist.
        tokenizer: a file, or "train:bpe:N".
        workers: processes, where there is no launcher.
        launcher: for example mpirun with its options.

    Raises:
        NullsError: the build failed.
    """
    words = ("--input", str(dump), "--format", "wikipedia", "--out", str(out))
    options = ("--tokenizer", tokenizer, *(() if launcher else ("--workers", str(workers))))
    command = [*launcher, sys.executable, "-m", "data_prep.build", *words, *options]
    # As root in a container, where Open MPI would refuse to start.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = {"OMP_NUM_THREADS": "1"} | allowed | os.environ
    begin = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        log = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise NullsError(f"{' '.join(command)} ended with exit code {process.returncode}:\n{log}")
    return BuildCost(
        wall_s=time.monotonic() - begin,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
    )
