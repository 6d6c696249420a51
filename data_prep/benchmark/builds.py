"""Builds as a user starts them, each in processes of its own, measured from outside."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nulls_dist.benchmark.own_process import measure_command
from nulls_dist.data.duplicates import Policy


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
    dump: Path,
    out: Path,
    *,
    tokenizer: str,
    workers: int = 1,
    launcher: Sequence[str] = (),
    duplicates: Policy = Policy.REPORT,
) -> BuildCost:
    """Build a corpus and say what that took.

    Args:
        dump: of Wikipedia.
        out: of the corpus; it must not exist.
        tokenizer: a file, or "train:bpe:N".
        workers: processes, where there is no launcher.
        launcher: for example mpirun with its options.
        duplicates: what to do about near-duplicates; the default is that of a build.

    Raises:
        NullsError: the build failed.
    """
    words = ("--input", str(dump), "--format", "wikipedia", "--out", str(out))
    options = ("--tokenizer", tokenizer, "--duplicates", duplicates.value)
    own_workers = () if launcher else ("--workers", str(workers))
    command = [*launcher, sys.executable, "-m", "data_prep.build", *words, *options, *own_workers]
    # As root in a container, where Open MPI would refuse to start.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = {"OMP_NUM_THREADS": "1"} | allowed | os.environ
    cost = measure_command(command, environment=environment, quiet=True)
    return BuildCost(wall_s=cost["seconds"], cpu_s=cost["cpu_seconds"], peak_mib=cost["peak_mib"])
