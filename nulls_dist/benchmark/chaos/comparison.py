"""Two finished runs of one configuration, compared: losses, tensors, and what they trained on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from nulls_dist.benchmark.fleet import metrics_of
from nulls_dist.checkpoint.contents import read_state
from nulls_dist.checkpoint.lives import counted_steps, read_lives
from nulls_dist.checkpoint.store import list_checkpoints, step_of_checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.exposure_log import SCHEMA, list_exposure_logs, read_exposure_log
from nulls_dist.unlearn.exposure_check import check_exposure

_EXACT: Final = "train/"
"""Metrics that repeat to the last bit; the others tell of the machine."""
_LOSS: Final = "train/loss_nats"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How a disturbed run differs from the undisturbed one."""

    num_steps: int
    num_differing_steps: int
    """In the loss, a gradient norm, the learning rate or the number of targets."""
    largest_loss_difference: float
    """Of one step, relative."""
    largest_window_difference: float
    """Of the mean loss of any `window` steps in a row, relative."""
    num_tensors: int
    """Weights, master weights and moments of the last checkpoint."""
    num_differing_tensors: int
    num_segments: int
    """Pieces of documents that count; the ledger was proved against the corpus."""
    num_tokens: int
    num_lost_segments: int
    """Trained on and thrown away with a life."""
    same_ledger: bool
    """Every step of both runs took the same pieces of the same documents."""


def compare_runs(run_dir: Path, undisturbed: Path, corpus: Path, *, window: int) -> Comparison:
    """Compare a finished run with an undisturbed one.

    Raises:
        IntegrityError: a checkpoint is damaged, or a run's ledger is not what the corpus implies.
    """
    here, there = metrics_of(run_dir), metrics_of(undisturbed)
    assert [line["step"] for line in here] == [line["step"] for line in there], "all steps, once"
    losses, expected = (np.array([line[_LOSS] for line in run]) for run in (here, there))
    roots = [list_checkpoints(run)[-1] for run in (run_dir, undisturbed)]
    first, second = (read_state(root) for root in roots)
    ledger = check_exposure(run_dir, Corpus(corpus))
    return Comparison(
        num_steps=len(here),
        num_differing_steps=sum(
            any(one[name] != two[name] for name in one if name.startswith(_EXACT))
            for one, two in zip(here, there, strict=True)
        ),
        largest_loss_difference=_largest(losses, expected),
        largest_window_difference=_largest(_means(losses, window), _means(expected, window)),
        num_tensors=len(first),
        num_differing_tensors=sum(not torch.equal(first[key], second[key]) for key in first),
        num_segments=ledger.num_segments,
        num_tokens=ledger.num_tokens,
        num_lost_segments=ledger.num_lost_segments,
        same_ledger=ledger_digest(run_dir) == ledger_digest(undisturbed),
    )


def _means(values: np.ndarray, window: int) -> np.ndarray:
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def _largest(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(values - expected) / expected))


def ledger_digest(run_dir: Path) -> str:
    """Return the sha256 of every piece that a run's ranks logged at the steps that count."""
    last = step_of_checkpoint(list_checkpoints(run_dir)[-1])
    tables = []
    for steps in counted_steps(read_lives(run_dir), last):
        for path in list_exposure_logs(run_dir, steps.life.start.life):
            table = read_exposure_log(path)
            at = table.column("step")
            counts = pc.and_(pc.greater(at, steps.first), pc.less_equal(at, steps.last))
            tables.append(table.filter(counts))
    pieces = pa.concat_tables(tables).sort_by([(name, "ascending") for name in SCHEMA.names])
    digest = hashlib.sha256()
    for column in pieces.columns:
        digest.update(column.to_numpy().tobytes())
    return digest.hexdigest()
