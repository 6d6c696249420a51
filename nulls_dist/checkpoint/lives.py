"""RUN/lives.jsonl: the ledger of a run's lives, and which of their steps count.

A life is one start of the training command. It has a record when it begins and another one when it
ends; a killed life has no second one. The next life continues from a checkpoint, so what a life
trained after that checkpoint was lost and is trained again.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, get_origin, get_type_hints

from nulls_dist import durable
from nulls_dist.errors import IntegrityError

LIVES_FILE: Final = "lives.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class LifeStart:
    """How a life began."""

    life: int
    """Number of the life, from 1."""
    first_step: int
    """Steps taken before it."""
    first_data_step: int
    """Steps taken when the corpus's first rows were."""
    rows_per_step: int
    seed: int
    world_size: int
    topology: dict[str, Any]
    """How the ranks divided the work."""
    parallel: dict[str, Any]
    """What the configuration asked for."""
    corpus: str
    """Name of the corpus."""
    corpus_sha256: str
    """Checksum of the corpus's fingerprint."""
    exposure: bool
    """Whether the ranks logged what they trained on."""
    versions: dict[str, Any]
    started_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LifeEnd:
    """How a life ended."""

    life: int
    last_step: int
    """Steps taken when it ended, lost ones included."""
    outcome: str
    """done, stopped, halted or failed."""
    ended_at: str


_KINDS: Final[dict[str, type[LifeStart | LifeEnd]]] = {"start": LifeStart, "end": LifeEnd}


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """A life of a run."""

    start: LifeStart
    end: LifeEnd | None
    """None for a life that was killed or still goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedSteps:
    """Steps (first, last] of a life that the model has in it."""

    life: Life
    first: int
    last: int


def append_life(run_dir: Path, record: LifeStart | LifeEnd) -> None:
    """Add a record; the file appears whole or as it was."""
    path = run_dir / LIVES_FILE
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    kind = next(name for name, kind in _KINDS.items() if isinstance(record, kind))
    durable.write_text(path, f"{before}{json.dumps({'record': kind, **asdict(record)})}\n")


def read_lives(run_dir: Path) -> list[Life]:
    """Return the lives of a run, the first one first; none where there is no ledger.

    Raises:
        IntegrityError: the ledger is damaged.
    """
    path = run_dir / LIVES_FILE
    lives: list[Life] = []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = _parse(line)
            if isinstance(record, LifeStart):
                lives.append(Life(start=record, end=None))
            else:
                lives[-1] = replace(lives[-1], end=record)
            if record.life != len(lives):
                raise ValueError(f"life {record.life} follows life {len(lives) - 1}")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise IntegrityError(
                f"{path}, line {number}: no record of a life ({error}); restore the file, or move "
                "it away together with RUN/log to begin a new ledger"
            ) from error
    return lives


def _parse(line: bytes) -> LifeStart | LifeEnd:
    content = json.loads(line)
    kind = _KINDS[content.pop("record")]
    names = {entry.name for entry in fields(kind)}  # a later version may write more
    record = kind(**{name: value for name, value in content.items() if name in names})
    for name, hint in get_type_hints(kind).items():
        value = getattr(record, name)
        if type(value) is not (get_origin(hint) or hint):
            raise TypeError(f"{name} ({value!r}) is not of type {hint}")
    return record


def counted_steps(lives: Sequence[Life], last_step: int) -> list[CountedSteps]:
    """Return which steps of each life led to the state after `last_step`; none of some, perhaps.

    A life that begins at a step makes everything that earlier ones trained after it void.

    Args:
        lives: of one run, in order.
        last_step: of the newest checkpoint.

    Raises:
        IntegrityError: steps are missing between the lives, or after them.
    """
    counted: list[CountedSteps] = []
    for life in lives:
        first = life.start.first_step
        last = last_step if life.end is None else life.end.last_step
        counted = _until(counted, first)
        if counted and counted[-1].last != first:
            raise _missing(counted[-1].last, first)
        counted.append(CountedSteps(life=life, first=first, last=max(first, last)))
    counted = _until(counted, last_step)
    if counted and counted[-1].last != last_step:
        raise _missing(counted[-1].last, last_step)
    return counted


def _until(counted: Sequence[CountedSteps], step: int) -> list[CountedSteps]:
    return [
        replace(steps, first=min(steps.first, step), last=min(steps.last, step))
        for steps in counted
    ]


def _missing(last: int, first: int) -> IntegrityError:
    return IntegrityError(
        f"{LIVES_FILE}: no life trained steps {last + 1} to {first}, after which the run continued"
    )
