"""The resume table: a checkpoint of any topology continues on any other."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import torch

from nulls_dist.benchmark.fleet import metrics_of, run_fleet
from nulls_dist.benchmark.parity import (
    BOUNDS,
    Metrics,
    relative_difference,
    state_difference,
)
from nulls_dist.benchmark.topologies import (
    Combination,
    build_topology_corpus,
    training_arguments,
)
from nulls_dist.checkpoint.contents import read_state
from nulls_dist.checkpoint.store import step_directory

STEPS: Final = 6
STOPPED_AFTER: Final = 3
_TIMEOUT_PER_RUN_S: Final = 60.0

TOPOLOGIES: Final = (
    Combination(name="1"),
    Combination(name="EP2", processes=2),
    Combination(name="DP2", processes=2, settings={"parallel.ep": 1}, stage=2),
    Combination(name="TP2", processes=2, settings={"parallel.tp": 2}),
    Combination(name="TP2 x EP2", processes=4, settings={"parallel.tp": 2}),
    Combination(name="EP2 x DP2", processes=4, settings={"parallel.ep": 2}, stage=2, overlap=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """What became of a run that was stopped on one topology and continued on another."""

    saved_by: str
    loaded_by: str
    loaded_exactly: bool
    """Weights, master weights and moments have the same bits when they are saved again."""
    same_targets: bool
    """Every later step had as many targets as in the uninterrupted run."""
    ended_exactly: bool
    """At the end all bits are those of the uninterrupted run on the topology that saved."""
    loss: float
    """Largest relative difference from the uninterrupted run on the topology that saved."""
    weights: float
    """Largest absolute difference from it at the end."""
    moments: float
    """Largest difference of the moments from it at the end, relative to each tensor's largest."""
    within_bounds: bool
    """Loaded exactly; the end exact on the same topology, close on another."""


def bench_elastic(work: Path) -> dict[str, Any]:
    """Stop on every topology, continue on every topology.

    Args:
        work: a new directory for a corpus and the runs.

    Returns:
        "transitions", "steps", "stopped_after".
    """
    corpus = build_topology_corpus(work)
    return {
        "transitions": [asdict(row) for row in change_topologies(TOPOLOGIES, corpus, work)],
        "steps": STEPS,
        "stopped_after": STOPPED_AFTER,
    }


def change_topologies(
    topologies: Sequence[Combination], corpus: Path, work: Path
) -> list[Transition]:
    """Train on every topology without a stop, then continue each one's checkpoint on every other.

    Args:
        topologies: all with the same batches.
        corpus: what to train on.
        work: an existing directory for the runs.
    """
    places = {each.name: work / f"run-{index}" for index, each in enumerate(topologies)}
    whole = [
        (
            each,
            training_arguments(
                each, corpus, places[each.name], steps=STEPS, save_every=STOPPED_AFTER
            ),
        )
        for each in topologies
    ]
    _run(whole)
    continued = []
    for reader in topologies:
        for writer in topologies:
            checkpoint = step_directory(places[writer.name], STOPPED_AFTER)
            run_dir = _place(work, places, writer, reader)
            for steps, resume in ((STOPPED_AFTER, str(checkpoint)), (STEPS, "auto")):
                arguments = training_arguments(
                    *(reader, corpus, run_dir, f"--resume={resume}"),
                    steps=steps,
                    save_every=STEPS,
                )
                continued.append((reader, arguments))
    _run(continued)
    return [
        _transition(writer, reader, places[writer.name], _place(work, places, writer, reader))
        for writer in topologies
        for reader in topologies
    ]


def _place(work: Path, places: dict[str, Path], writer: Combination, reader: Combination) -> Path:
    return work / f"{places[writer.name].name}-on-{places[reader.name].name}"


def _run(runs: list[tuple[Combination, list[str]]]) -> None:
    in_order = sorted(runs, key=lambda run: run[0].processes)
    for processes, group in groupby(in_order, key=lambda run: run[0].processes):
        arguments = [run[1] for run in group]
        timeout_s = _TIMEOUT_PER_RUN_S * len(arguments)
        run_fleet(arguments, num_processes=processes, timeout_s=timeout_s)


def _transition(
    writer: Combination, reader: Combination, whole: Path, continued: Path
) -> Transition:
    before, loaded = (read_state(step_directory(run, STOPPED_AFTER)) for run in (whole, continued))
    expected, ended = (read_state(step_directory(run, STEPS)) for run in (whole, continued))
    there: Metrics = metrics_of(whole)[STOPPED_AFTER:]
    here: Metrics = metrics_of(continued)
    weights, moments = state_difference(ended, expected)
    loss = relative_difference(here, there, "train/loss_nats")
    loaded_exactly = all(torch.equal(before[key], loaded[key]) for key in before)
    ended_exactly = all(torch.equal(expected[key], ended[key]) for key in expected)
    bounds = BOUNDS["fp32"]
    close = loss <= bounds.loss and weights <= bounds.weights and moments <= bounds.moments
    return Transition(
        saved_by=writer.name,
        loaded_by=reader.name,
        loaded_exactly=loaded_exactly,
        same_targets=relative_difference(here, there, "train/targets") == 0,
        ended_exactly=ended_exactly,
        loss=loss,
        weights=weights,
        moments=moments,
        within_bounds=loaded_exactly and (ended_exactly if writer is reader else close),
    )


def format_elastic(result: dict[str, Any]) -> str:
    """Return the table for a terminal."""
    lines = [
        f"{'saved by':<12}{'loaded by':<12}{'loaded':>10}{'ended':>10}{'loss':>10}{'weights':>10}"
        f"{'moments':>10}"
    ]
    for row in result["transitions"]:
        exact = ["exact" if row[name] else "close" for name in ("loaded_exactly", "ended_exactly")]
        cells = "".join(f"{row[name]:>10.1e}" for name in ("loss", "weights", "moments"))
        verdict = "" if row["within_bounds"] and row["same_targets"] else "  OUT OF BOUNDS"
        lines.append(
            f"{row['saved_by']:<12}{row['loaded_by']:<12}{exact[0]:>10}{exact[1]:>10}{cells}"
            f"{verdict}"
        )
    return "\n".join(lines)
