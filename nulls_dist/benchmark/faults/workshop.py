"""What the tries share: a small corpus, jobs, and the run that nothing disturbed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.faults.crew import Crew, Job
from nulls_dist.checkpoint.format import RUN_FILE
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints, step_of_checkpoint
from nulls_dist.errors import NullsError

VOCABULARY: Final = 400
_SPEED: Final = ("perf/", "checkpoint/")
"""Metrics that may differ between two runs of one command."""

Digests = dict[str, str]
"""Files of a checkpoint -> sha256, what tells of the life that wrote it left out."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where the tries take place."""

    work: Path
    corpus: Path
    crew: Crew = field(default_factory=Crew)
    share: float = 1.0
    """Of the tries."""

    def arguments(
        self,
        run_dir: Path,
        settings: Mapping[str, object],
        *options: str,
        corpus: Path | None = None,
    ) -> list[str]:
        """Return the arguments of the training command for the tiny preset."""
        places = ("--preset", "nulls_tiny", "--data", str(corpus or self.corpus))
        defaults: dict[str, object] = {"train.eval_every": 0}
        wanted = {**defaults, **settings}
        overrides = [f"--set={name}={value}" for name, value in wanted.items()]
        return [*places, "--run-dir", str(run_dir), *overrides, *options]

    def start(self, arguments: Iterable[str], run_dir: Path, **options: Any) -> Job:
        """Start a job whose ranks log beside the run directory."""
        logs = self.work / "logs" / run_dir.name
        return self.crew.start(list(arguments), logs=logs, **options)

    def train(self, arguments: Iterable[str], run_dir: Path, **options: Any) -> None:
        """Train to the end.

        Raises:
            NullsError: a rank failed.
        """
        job = self.start(arguments, run_dir, **options)
        codes = job.wait()
        if any(codes):
            raise NullsError(f"{run_dir}: exit codes {codes}: {job.said()[-4000:]}")


def open_workshop(work: Path, *, share: float) -> Workshop:
    """Make a new directory with a corpus in it.

    Raises:
        NullsError: it exists, or the corpus could not be built.
    """
    durable.check_absent(work)
    work.mkdir(parents=True)
    build_corpus(work / "corpus")
    return Workshop(work=work, corpus=work / "corpus", share=share)


def build_corpus(out: Path, *, articles: int = 24, tokenizer: Path | None = None) -> None:
    """Build a corpus of generated articles; its tokenizer is trained where none is given."""
    Commands().python(
        *("-m", "data_prep.build", "--input", "generated", "--format", "generated"),
        *("--articles", articles, "--renderings", 4, "--partitions", 4, "--out", out),
        *("--tokenizer", tokenizer or f"train:bpe:{VOCABULARY}"),
    )


def digests_of(checkpoint: Path) -> Digests:
    """Return what a checkpoint holds after comparing every file with its checksum.

    Raises:
        IntegrityError: it is damaged.
    """
    records = list(Checkpoint(checkpoint).verify())
    return {record.path: record.sha256 for record in records if record.path != RUN_FILE}


def digests_by_step(run_dir: Path) -> dict[int, Digests]:
    """Return what all checkpoints of a run hold."""
    return {step_of_checkpoint(path): digests_of(path) for path in list_checkpoints(run_dir)}


def newest_step(run_dir: Path) -> int:
    """Return the step of a run's newest complete checkpoint, 0 without one."""
    found = list_checkpoints(run_dir)
    return step_of_checkpoint(found[-1]) if found else 0


def metrics_of(run_dir: Path) -> list[dict[str, Any]]:
    """Return a run's metrics by step, without what depends on the machine."""
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if not name.startswith(_SPEED)}
        for line in lines
    ]


def leftovers(run_dir: Path) -> list[str]:
    """Return the names of unfinished checkpoints."""
    return sorted(path.name for path in run_dir.glob("checkpoints/.*.partial"))


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A run that nothing happened to, for others to be compared with."""

    digests: dict[int, Digests]
    """Step of each checkpoint -> contents."""
    metrics: list[dict[str, Any]]

    @property
    def steps(self) -> int:
        """Steps that it took."""
        return len(self.metrics)

    def differences(self, run_dir: Path) -> list[str]:
        """Say what of a finished run differs from this one: last checkpoint or metrics."""
        problems = []
        if newest_step(run_dir) != self.steps:
            return [f"ended at step {newest_step(run_dir)}, not {self.steps}"]
        if digests_of(list_checkpoints(run_dir)[-1]) != self.digests[self.steps]:
            problems.append("the last checkpoint differs from the uninterrupted run's")
        if metrics_of(run_dir) != self.metrics:
            problems.append("the metrics differ from the uninterrupted run's")
        return problems


def train_undisturbed(
    shop: Workshop, name: str, settings: Mapping[str, object], *, num_ranks: int = 2
) -> Undisturbed:
    """Train once without a fault."""
    run_dir = shop.work / name
    shop.train(shop.arguments(run_dir, settings), run_dir, num_ranks=num_ranks)
    return Undisturbed(digests=digests_by_step(run_dir), metrics=metrics_of(run_dir))
