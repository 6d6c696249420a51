"""Ranks that share work get the same results as one process, and refuse what cannot work."""

import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from data_prep.crew import LocalCrew, MpiCrew, end_ranks, join_crew
from nulls_dist.errors import ConfigError


class Threads:
    """The communicator of MPI ranks that are threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.meeting = threading.Barrier(size, timeout=20)
        self.held: list[object] = [None] * size

    def communicator(self, rank: int) -> SimpleNamespace:
        def allgather(value: object) -> list[object]:
            self.held[rank] = value
            self.meeting.wait()
            everything = list(self.held)
            self.meeting.wait()
            return everything

        return SimpleNamespace(
            Get_rank=lambda: rank,
            Get_size=lambda: self.size,
            allgather=allgather,
            bcast=lambda value: allgather(value)[0],
            barrier=lambda: allgather(None),
        )


def on_ranks(size: int, work) -> list:
    """Result of `work(crew)` on every rank."""
    threads = Threads(size)
    results: list = [None] * size

    def run(rank: int) -> None:
        results[rank] = work(MpiCrew(threads.communicator(rank)))

    ranks = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    return results


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("num_inputs", [0, 1, 3, 6, 7])
def test_every_rank_gets_all_results_in_order_and_each_input_is_done_once(
    size: int, num_inputs: int
) -> None:
    done: list[int] = []

    def square(number: int) -> int:
        done.append(number)
        return number * number

    results = on_ranks(size, lambda crew: crew.map(square, range(num_inputs), label="x"))
    assert results == [[number * number for number in range(num_inputs)]] * size
    assert sorted(done) == list(range(num_inputs))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("enough", [0, 2, 5, 99])
def test_enough_ends_the_work_after_the_same_result_on_any_number_of_ranks(
    size: int, enough: int
) -> None:
    def work(crew):
        return crew.map(abs, range(8), label="x", is_enough=lambda result: result >= enough)

    expected = work(LocalCrew())
    assert expected == list(range(min(enough + 1, 8)))
    assert on_ranks(size, work) == [expected] * size


def test_what_the_leader_does_is_done_once() -> None:
    done: list[bool] = []

    def work(crew):
        return crew.is_leader, crew.lead(lambda: done.append(crew.is_leader) or len(done))

    assert on_ranks(3, work) == [(True, 1), (False, 1), (False, 1)]
    assert done == [True]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch):
    def launch(**variables: str) -> None:
        for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "SLURM_STEP_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    launch()
    return launch


@pytest.mark.parametrize(
    "variables",
    [{}, {"OMPI_COMM_WORLD_SIZE": "1"}, {"SLURM_NTASKS": "8"}],
    ids=["python", "one rank", "batch script without srun"],
)
def test_one_process_needs_no_mpi(launched, variables: dict[str, str]) -> None:
    launched(**variables)
    assert isinstance(join_crew(1), LocalCrew)


@pytest.mark.parametrize(
    "variables",
    [
        {"OMPI_COMM_WORLD_SIZE": "2"},
        {"PMI_SIZE": "2"},
        {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"},
    ],
)
def test_several_processes_without_mpi_are_refused(
    launched, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    launched(**variables)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ConfigError, match="started 2 processes, but MPI cannot be used"):
        join_crew(None)


def fake_mpi(monkeypatch: pytest.MonkeyPatch, size: int) -> list[int]:
    """MPI that sees `size` processes; returns the codes of aborts."""
    codes: list[int] = []
    world = SimpleNamespace(Get_rank=lambda: 0, Get_size=lambda: size, Abort=codes.append)
    package, module = ModuleType("mpi4py"), ModuleType("mpi4py.MPI")
    package.MPI = module
    module.COMM_WORLD = world
    monkeypatch.setitem(sys.modules, "mpi4py", package)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", module)
    return codes


def test_processes_that_do_not_see_each_other_are_refused(
    launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(SLURM_NTASKS="4", SLURM_STEP_ID="0")
    fake_mpi(monkeypatch, 1)
    with pytest.raises(ConfigError, match="srun started 4 processes, but MPI sees 1"):
        join_crew(None)


def test_workers_under_mpi_are_refused(launched, monkeypatch: pytest.MonkeyPatch) -> None:
    launched(OMPI_COMM_WORLD_SIZE="4")
    fake_mpi(monkeypatch, 4)
    with pytest.raises(ConfigError, match="leave --workers out"):
        join_crew(2)
    assert isinstance(join_crew(1), MpiCrew)


@pytest.mark.parametrize(("size", "code", "codes"), [(2, 3, [3]), (2, 0, []), (1, 3, [])])
def test_a_rank_that_fails_ends_the_others(
    monkeypatch: pytest.MonkeyPatch, size: int, code: int, codes: list[int]
) -> None:
    aborted = fake_mpi(monkeypatch, size)
    end_ranks(code)
    assert aborted == codes
