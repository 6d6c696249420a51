"""Who does the work: the processes of one machine, or the ranks of an MPI job.

Every stage of a build is a function mapped over a list. Each result is small; what is large goes
through files in the directory of the build, which all ranks see. So the stages are the same
whoever works, and so are their results.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar

from data_prep.parallel_map import WorkerPool
from nulls_dist.errors import ConfigError

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")

_LAUNCHERS: Final = (
    ("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"),
    ("mpirun", "PMI_SIZE", "PMI_SIZE"),
    ("srun", "SLURM_NTASKS", "SLURM_STEP_ID"),  # a batch script has the first, a step both
)
"""Name, variable that holds the number of processes, variable that tells it is there."""


class Crew(Protocol):
    """Processes that work together; all ranks of one call the same methods in the same order."""

    @property
    def is_leader(self) -> bool:
        """Whether this process does what is done once."""

    def map(
        self,
        function: Callable[[InputT], ResultT],
        inputs: Iterable[InputT],
        *,
        label: str,
        is_enough: Callable[[ResultT], bool] | None = None,
    ) -> list[ResultT]:
        """Return `function(value)` for each input, in order, on every rank.

        Args:
            function: picklable.
            inputs: the same on every rank; read little ahead of what is worked on.
            label: what a progress bar says.
            is_enough: called with each result in order; True ends the work after it.
        """

    def lead(self, function: Callable[[], ResultT]) -> ResultT:
        """Return on every rank what the leader gets from `function`."""

    def barrier(self) -> None:
        """Wait until every rank is here."""


class LocalCrew:
    """This process and its workers."""

    is_leader = True

    def __init__(self, num_workers: int = 1) -> None:
        self._pool = WorkerPool(num_workers)

    def __enter__(self) -> "LocalCrew":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.close()

    def map(
        self,
        function: Callable[[InputT], ResultT],
        inputs: Iterable[InputT],
        *,
        label: str,
        is_enough: Callable[[ResultT], bool] | None = None,
    ) -> list[ResultT]:
        """Return the results in order."""
        results: list[ResultT] = []
        for result in with_progress(self._pool.map(function, inputs), label):
            results.append(result)
            if is_enough is not None and is_enough(result):
                break
        return results

    def lead(self, function: Callable[[], ResultT]) -> ResultT:
        """Call the function."""
        return function()

    def barrier(self) -> None:
        """Return at once: there is one rank."""


class MpiCrew:
    """The ranks of an MPI job; input i is done by rank i modulo their number."""

    def __init__(self, communicator: Any) -> None:
        self._communicator = communicator
        self._rank: int = communicator.Get_rank()
        self._size: int = communicator.Get_size()

    def __enter__(self) -> "MpiCrew":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave alone: MPI ends with the interpreter."""

    @property
    def is_leader(self) -> bool:
        """Whether this is rank 0."""
        return self._rank == 0

    def map(
        self,
        function: Callable[[InputT], ResultT],
        inputs: Iterable[InputT],
        *,
        label: str,
        is_enough: Callable[[ResultT], bool] | None = None,
    ) -> list[ResultT]:
        """Return all ranks' results in order; with `is_enough` they are gathered in rounds."""
        remaining = iter(inputs)
        results: list[ResultT] = []
        while True:
            values = remaining if is_enough is None else islice(remaining, self._size)
            gathered = self._map_round(function, values, label)
            for result in gathered:
                results.append(result)
                if is_enough is not None and is_enough(result):
                    return results
            if is_enough is None or len(gathered) < self._size:
                return results

    def _map_round(
        self, function: Callable[[InputT], ResultT], inputs: Iterable[InputT], label: str
    ) -> list[ResultT]:
        own: Iterator[InputT] = islice(inputs, self._rank, None, self._size)
        if self.is_leader:
            own = with_progress(own, label)
        shares: list[list[ResultT]] = self._communicator.allgather([function(v) for v in own])
        length = sum(map(len, shares))
        return [shares[place % self._size][place // self._size] for place in range(length)]

    def lead(self, function: Callable[[], ResultT]) -> ResultT:
        """Call the function on rank 0 and send its result to all."""
        result: ResultT = self._communicator.bcast(function() if self.is_leader else None)
        return result

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self._communicator.barrier()


def join_crew(num_workers: int | None) -> LocalCrew | MpiCrew:
    """Return the ranks that this process was started with, or this process and its workers.

    Args:
        num_workers: None takes one per usable processor.

    Raises:
        ConfigError: MPI is not installed or does not see the other processes, or each rank is
            asked to have workers of its own.
    """
    launcher, num_processes = _read_launch()
    if num_processes == 1:
        return LocalCrew(num_workers or len(os.sched_getaffinity(0)))
    if (num_workers or 1) > 1:
        raise ConfigError(
            f"--workers {num_workers} under {launcher}: its {num_processes} processes are the "
            "workers; leave --workers out"
        )
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            f"{launcher} started {num_processes} processes, but MPI cannot be used ({error}): "
            "pip install 'nulls-dist[mpi]', or mpi4py built for the cluster's own MPI"
        ) from error
    communicator = MPI.COMM_WORLD
    if communicator.Get_size() != num_processes:
        raise ConfigError(
            f"{launcher} started {num_processes} processes, but MPI sees "
            f"{communicator.Get_size()}: use the mpirun of the MPI that mpi4py was built for, or "
            "srun with --mpi"
        )
    return MpiCrew(communicator)


def end_ranks(exit_code: int) -> None:
    """End the whole MPI job where this rank failed: the others would wait for it for ever."""
    module = sys.modules.get("mpi4py.MPI")
    if module is not None and exit_code and module.COMM_WORLD.Get_size() > 1:
        sys.stderr.flush()
        module.COMM_WORLD.Abort(exit_code)


def _read_launch() -> tuple[str, int]:
    """Return the launcher's name and how many processes it started."""
    for launcher, count, sign in _LAUNCHERS:
        if sign in os.environ and os.environ.get(count, "").isdecimal():
            return launcher, int(os.environ[count])
    return "python", 1


def with_progress(values: Iterable[InputT], label: str) -> Iterator[InputT]:
    """Show a progress bar on a terminal."""
    from tqdm import tqdm  # heavy: not needed for --help

    bar: Iterable[InputT] = tqdm(values, desc=label, unit=" parts", disable=not sys.stderr.isatty())
    return iter(bar)
