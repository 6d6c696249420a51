"""The ledger of a run's lives, written by rank 0."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import torch.distributed as dist

from nulls_dist.checkpoint.lives import LifeEnd, LifeStart, append_life, read_lives
from nulls_dist.data.format import fingerprint_sha256
from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.outcome import Outcome
from nulls_dist.train.provenance import package_versions
from nulls_dist.train.run import Run


class LifeLog(Hook):
    """This life of a run.

    Attributes:
        number: of the life, from 1, the same on all ranks.
    """

    def __init__(self, run: Run) -> None:
        """Record that the life begins; every rank calls this."""
        self._run = run
        self._last_step = run.first_step
        numbers = [0]
        if run.groups.topology.rank == 0:
            numbers = [len(read_lives(run.run_dir)) + 1]
            append_life(run.run_dir, _start(run, numbers[0]))
        dist.broadcast_object_list(numbers, src=0)
        self.number = numbers[0]

    def after_step(self, event: StepEvent) -> None:
        """Remember the step."""
        self._last_step = event.step

    def end(self, outcome: Outcome) -> None:
        """Record how the life ended."""
        if self._run.groups.topology.rank == 0:
            record = LifeEnd(
                life=self.number, last_step=self._last_step, outcome=outcome, ended_at=_now()
            )
            append_life(self._run.run_dir, record)


@contextlib.contextmanager
def life_of(run: Run) -> Iterator[LifeLog]:
    """Begin a life; whoever trains ends it, unless that failed."""
    life = LifeLog(run)
    try:
        yield life
    except BaseException:
        with contextlib.suppress(OSError):  # the reason why it failed must not be hidden
            life.end("failed")
        raise


def _start(run: Run, life: int) -> LifeStart:
    manifest = run.corpus.manifest
    return LifeStart(
        life=life,
        first_step=run.first_step,
        first_data_step=run.first_data_step,
        rows_per_step=run.config.train.global_batch_rows,
        seed=run.config.seed,
        world_size=dist.get_world_size(),
        topology=run.groups.topology.to_dict(),
        parallel=asdict(run.config.parallel),
        corpus=manifest.corpus,
        corpus_sha256=fingerprint_sha256(manifest.fingerprint),
        exposure=run.config.report.exposure,
        versions=package_versions(),
        started_at=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
