"""Proves what a run trained on: all that its ranks logged, compared with what the corpus implies.

Every piece of a document that the order of the data assigns to a step must have been logged at that
step by one rank once, and nothing else; steps that a later life trained again do not count.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nulls_dist.checkpoint.lives import LIVES_FILE, CountedSteps, counted_steps, read_lives
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.exposure_log import (
    SCHEMA,
    list_exposure_logs,
    rank_of_log,
    read_exposure_log,
)
from nulls_dist.data.format import fingerprint_sha256
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.unlearn.replay import Replay, open_replay

_BLOCK_STEPS: Final = 512
_KEY: Final = np.dtype([(field.name, field.type.to_pandas_dtype()) for field in SCHEMA])
_Keys = npt.NDArray[np.void]
"""Of type `_KEY`: the columns of an exposure log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Logged:
    """Pieces, and which rank logged each."""

    keys: _Keys
    ranks: npt.NDArray[np.int64]

    def take(self, places: npt.NDArray[Any]) -> "_Logged":
        """Return some of them: by number, or by a mask."""
        return _Logged(keys=self.keys[places], ranks=self.ranks[places])


@dataclass(frozen=True, kw_only=True, slots=True)
class ExposureSummary:
    """What was compared."""

    num_lives: int
    first_step: int
    """Steps taken before the run's first life."""
    last_step: int
    num_segments: int
    num_tokens: int
    num_lost_segments: int
    """Logged at steps that a later life trained again."""


def check_exposure(run_dir: Path, corpus: Corpus) -> ExposureSummary:
    """Compare the logs of all lives of a run with the corpus, up to its newest checkpoint.

    Raises:
        InputError: the run has no ledger, no checkpoint or no logs, or trained on another corpus.
        IntegrityError: the logs differ from the corpus, or a file is damaged.
    """
    lives, checkpoints = read_lives(run_dir), list_checkpoints(run_dir)
    if not lives or not checkpoints:
        missing = "checkpoint" if lives else LIVES_FILE
        raise InputError(
            f"{run_dir}: there is no {missing}, so no step counts; name a run directory"
        )
    replay = open_replay(Checkpoint(checkpoints[-1]), corpus)
    num_segments = num_tokens = num_lost = 0
    for steps in counted_steps(lives, replay.last_step):
        if steps.first < steps.last:
            _check_same_data(steps, replay)
        logged = _read_logs(run_dir, steps.life.start.life)
        _check_ended(logged, steps)
        is_lost = logged.keys["step"] > steps.last
        num_lost += int(is_lost.sum())
        logged = logged.take(~is_lost)
        for derived, found in _blocks(replay, steps, logged):
            _compare(derived, found, steps.life.start.life)
            num_segments += len(derived)
            num_tokens += int(derived["length"].sum())
    return ExposureSummary(
        num_lives=len(lives),
        first_step=lives[0].start.first_step,
        last_step=replay.last_step,
        num_segments=num_segments,
        num_tokens=num_tokens,
        num_lost_segments=num_lost,
    )


def _check_same_data(steps: CountedSteps, replay: Replay) -> None:
    """Refuse a life whose steps cannot be compared with the checkpoint's data."""
    life = steps.life.start
    for name, wanted in (
        ("corpus_sha256", fingerprint_sha256(replay.corpus.manifest.fingerprint)),
        ("first_data_step", replay.first_data_step),
        ("rows_per_step", replay.rows_per_step),
        ("seed", replay.seed),
    ):
        if getattr(life, name) != wanted:
            raise IntegrityError(
                f"{LIVES_FILE}: {name} of life {life.life} ({getattr(life, name)}) is not that of "
                f"the newest checkpoint ({wanted})"
            )
    if not life.exposure:
        raise InputError(
            f"life {life.life} trained steps {steps.first + 1} to {steps.last} with "
            "report.exposure=false, so no log of them can be compared"
        )


def _read_logs(run_dir: Path, life: int) -> _Logged:
    """Read what all ranks logged in a life, lost steps included."""
    keys, ranks = [np.empty(0, _KEY)], [np.empty(0, np.int64)]
    for path in list_exposure_logs(run_dir, life):
        table = read_exposure_log(path)
        pieces = np.empty(table.num_rows, _KEY)
        for name in SCHEMA.names:
            pieces[name] = table.column(name).to_numpy()
        keys.append(pieces)
        ranks.append(np.full(table.num_rows, rank_of_log(path)))
    return _Logged(keys=np.concatenate(keys), ranks=np.concatenate(ranks))


def _check_ended(logged: _Logged, steps: CountedSteps) -> None:
    """Refuse steps after the end of a life; one that was killed may have taken any."""
    end = steps.life.end
    if end is None:
        return
    beyond = np.flatnonzero(logged.keys["step"] > end.last_step)
    if len(beyond):
        place = int(beyond[0])
        raise IntegrityError(
            f"life {end.life}, {_name(logged.keys[place].item())}: was logged by rank "
            f"{logged.ranks[place]}, but the life ended at step {end.last_step}"
        )


def _blocks(
    replay: Replay, steps: CountedSteps, logged: _Logged
) -> Iterator[tuple[_Keys, _Logged]]:
    """Yield what is implied and what was logged, some steps at a time, both in one order."""
    for first in range(steps.first, steps.last, _BLOCK_STEPS):
        last = min(first + _BLOCK_STEPS, steps.last)
        seen = replay.exposures(first_step=first, last_step=last)
        derived = np.empty(len(seen.steps), _KEY)
        derived["step"] = seen.steps
        derived["source_id"] = replay.corpus.source_ids[seen.documents]
        derived["doc_index"] = replay.corpus.doc_indices[seen.documents]
        derived["start"] = seen.starts
        derived["length"] = seen.lengths
        is_here = logged.keys["step"] <= last
        if first > steps.first:  # a step from before the life is a difference of its first block
            is_here &= logged.keys["step"] > first
        found = logged.take(is_here)
        yield derived[_order(derived)], found.take(_order(found.keys))


def _order(keys: _Keys) -> npt.NDArray[np.int64]:
    order: npt.NDArray[np.int64] = np.lexsort([keys[name] for name in reversed(SCHEMA.names)])
    return order


def _compare(derived: _Keys, logged: _Logged, life: int) -> None:
    """Compare sorted pieces.

    Raises:
        IntegrityError: they differ; the first difference is named.
    """
    common = min(len(derived), len(logged.keys))
    differing = np.flatnonzero(derived[:common] != logged.keys[:common])
    place = int(differing[0]) if len(differing) else common
    if place == len(derived) == len(logged.keys):
        return
    due = derived[place : place + 1].tolist()
    found = logged.keys[place : place + 1].tolist()
    if not found or (due and due < found):
        raise IntegrityError(f"life {life}, {_name(due[0])}: was due, but no rank logged it")
    raise IntegrityError(
        f"life {life}, {_name(found[0])}: was logged by rank {logged.ranks[place]}, but was not "
        "due, or not twice"
    )


def _name(key: tuple[int, ...]) -> str:
    step, source_id, doc_index, start, length = key
    return (
        f"step {step}: tokens {start} to {start + length - 1} of document {doc_index} of "
        f"id:{source_id}"
    )
