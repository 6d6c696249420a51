"""The parity table: every way to share a training among processes gives the same training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from nulls_dist import durable
from nulls_dist.benchmark.fleet import metrics_of, run_fleet
from nulls_dist.benchmark.topologies import (
    COMBINATIONS,
    Combination,
    build_topology_corpus,
    training_arguments,
)
from nulls_dist.checkpoint.contents import read_state
from nulls_dist.checkpoint.store import list_checkpoints

State = Mapping[str, Tensor]
Metrics = Sequence[Mapping[str, float]]

STEPS: Final = 5
_TIMEOUT_PER_RUN_S: Final = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How far a combination may be from its reference."""

    loss: float
    """Relative, of every step."""
    grad_norm: float
    """Relative, of every step: of all parameters, of the backbone and of the sinks."""
    weights: float
    """Absolute, of weights and master weights after the last step."""
    moments: float
    """Of Adam's moments after the last step, relative to the largest of the tensor."""


_FP32: Final = Bounds(loss=1e-5, grad_norm=1e-5, weights=1e-5, moments=1e-5)
BOUNDS: Final = {
    "fp32": _FP32,
    "all-to-all": _FP32,
    # bf16 rounds every product and topologies group them differently: 8 bits, and Adam's first
    # steps turn the sign of a rounding error into a whole step of the learning rate.
    "bf16": Bounds(loss=5e-3, grad_norm=5e-2, weights=2e-2, moments=0.1),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Largest differences of one combination from its reference."""

    name: str
    processes: int
    stage: int
    topology: dict[str, int]
    smallest_grad_norm: float
    """Before clipping: above the limit, so clipping was active."""
    loss: float
    grad_norm: float
    weights: float
    moments: float
    within_bounds: bool


def bench_parity(work: Path) -> dict[str, Any]:
    """Train every combination and compare each with its reference.

    Args:
        work: a new directory for a corpus and the runs.

    Returns:
        "combinations" with the differences of each, "bounds", "steps".
    """
    corpus = build_topology_corpus(work)
    return {
        "combinations": [asdict(row) for row in compare(COMBINATIONS, corpus, work)],
        "bounds": {dtype: asdict(bounds) for dtype, bounds in BOUNDS.items()},
        "steps": STEPS,
    }


def compare(combinations: Sequence[Combination], corpus: Path, work: Path) -> list[Difference]:
    """Train some combinations and compare each with its reference, which must be among them.

    Args:
        combinations: what to train; processes are started once for all that need equally many.
        corpus: what to train on.
        work: an existing directory for the runs.
    """
    runs = {each.name: work / f"run-{index:02d}" for index, each in enumerate(combinations)}
    in_order = sorted(combinations, key=lambda each: each.processes)
    for processes, group in groupby(in_order, key=lambda each: each.processes):
        arguments = [
            training_arguments(each, corpus, runs[each.name], steps=STEPS, save_every=STEPS)
            for each in group
        ]
        timeout_s = _TIMEOUT_PER_RUN_S * len(arguments)
        run_fleet(arguments, num_processes=processes, timeout_s=timeout_s)
    return [
        _difference(each, runs[each.name], runs[each.reference])
        for each in combinations
        if not each.is_reference
    ]


def _difference(combination: Combination, run_dir: Path, reference: Path) -> Difference:
    here, there = metrics_of(run_dir), metrics_of(reference)
    weights, moments = state_difference(
        *(read_state(list_checkpoints(run)[-1]) for run in (run_dir, reference))
    )
    found = {
        "loss": relative_difference(here, there, "train/loss_nats"),
        "grad_norm": max(
            relative_difference(here, there, f"train/grad_norm{part}")
            for part in ("", "_backbone", "_sinks")
        ),
        "weights": weights,
        "moments": moments,
    }
    bounds = BOUNDS[combination.reference]
    record = durable.read_json(list_checkpoints(run_dir)[-1] / "run.json")
    return Difference(
        name=combination.name,
        processes=combination.processes,
        stage=combination.stage,
        topology=record["topology"],
        smallest_grad_norm=min(line["train/grad_norm"] for line in here),
        within_bounds=all(value <= getattr(bounds, name) for name, value in found.items()),
        **found,
    )


def state_difference(state: State, expected: State) -> tuple[float, float]:
    """Return the largest absolute difference of weights and master weights, and of the moments.

    Moments are compared relative to the largest of their tensor.
    """
    weights = moments = 0.0
    for key, values in expected.items():
        largest = float((state[key].double() - values.double()).abs().max())
        if key.startswith("exp_avg"):
            moments = max(moments, largest / float(values.abs().max() or 1))
        else:
            weights = max(weights, largest)
    return weights, moments


def relative_difference(here: Metrics, there: Metrics, name: str) -> float:
    """Return the largest relative difference of a metric over all steps."""
    pairs = zip(here, there, strict=True)
    return max(abs(one[name] / other[name] - 1) for one, other in pairs)


def format_parity(result: dict[str, Any]) -> str:
    """Return the table for a terminal."""
    rows: Iterable[dict[str, Any]] = result["combinations"]
    columns = ("loss", "grad_norm", "weights", "moments")
    head = f"{'combination':<42}{'processes':>10}" + "".join(f"{name:>11}" for name in columns)
    lines = [head]
    for row in rows:
        cells = "".join(f"{row[name]:>11.1e}" for name in columns)
        verdict = "" if row["within_bounds"] else "  OUT OF BOUNDS"
        lines.append(f"{row['name']:<42}{row['processes']:>10}{cells}{verdict}")
    return "\n".join(lines)
