"""What the files of a run directory tell about its run, while it trains and afterwards.

Nothing here is written, locked or loaded onto a device, so any run may be looked at, at any time.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final, Literal

from nulls_dist.checkpoint.format import MANIFEST_FILE, RUN_FILE
from nulls_dist.checkpoint.lives import LIVES_FILE, Life, read_lives
from nulls_dist.checkpoint.store import list_checkpoints, step_of_checkpoint
from nulls_dist.durable import read_json
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.train.run_files import (
    BAD_STEPS_FILE,
    EVENTS_FILE,
    HEARTBEAT_FILE,
    LOG_DIR,
    METRICS_FILE,
)
from nulls_dist.train.run_lock import is_held

Status = Literal["running", "finished", "stopped", "crashed", "stale"]

RECENT_STEPS: Final = 100
"""Steps that speed and loss are taken over."""
_TAIL_BYTES: Final = 1 << 20
"""Holds the lines of so many steps, and more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LifeSummary:
    """A life of a run."""

    life: int
    processes: int
    first_step: int
    last_step: int | None
    """None where nobody recorded it."""
    end: str
    """done, stopped, halted, failed, killed or, for the newest one, running or stale."""
    started_at: str
    ended_at: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSummary:
    """The newest complete checkpoint."""

    path: str
    step: int
    age_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run is, and how fast."""

    step: int
    steps: int
    """Of the whole run."""
    loss_nats: float | None
    """Mean over the last `RECENT_STEPS` steps; None where none was finite."""
    tokens_per_s: float | None
    """Median over them, without evaluation and checkpoints."""
    s_per_step: float | None
    """Over the newest life, its start, evaluation and checkpoints included; None before its second
    step."""
    expected_end: str | None
    """At that speed; None for a run that does not train now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultCounts:
    """What went wrong so far, in all lives."""

    skipped_steps: int
    """The loss or the gradient was not finite. A step that was taken again counts again."""
    loss_spikes: int
    failed_lives: int
    killed_lives: int
    hangs: int
    """Noticed by the job that watches the heartbeat."""
    failed_saves: int
    """Beside training, which went on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """A run at one moment."""

    run_dir: str
    preset: str
    status: Status
    reason: str
    """What the status is concluded from."""
    heartbeat_age_s: float | None
    progress: Progress
    checkpoint: CheckpointSummary | None
    faults: FaultCounts
    lives: list[LifeSummary]


def inspect_run(run_dir: Path, *, stale_after_s: float) -> Inspection:
    """Look at a run.

    Args:
        run_dir: directory of the run.
        stale_after_s: seconds without a step after which a life that has no end is not taken for
            running.

    Raises:
        InputError: there is no run.
        IntegrityError: its ledger or its configuration is damaged.
    """
    lives = read_lives(run_dir)
    if not lives or not (run_dir / RUN_FILE).is_file():  # written in this order
        raise InputError(
            f"{run_dir}: there is no {LIVES_FILE} or no {RUN_FILE}: it is no run directory, or no "
            "life of the run has begun; name a run directory"
        )
    now = time.time()
    preset, steps = _read_plan(run_dir / RUN_FILE)
    sign = _last_sign_of_life(run_dir, lives[-1])
    status, reason = _status(run_dir, lives[-1], idle_s=now - sign, stale_after_s=stale_after_s)
    summaries = [_summarize(life, "killed") for life in lives[:-1]]
    summaries.append(_summarize(lives[-1], "killed" if status == "crashed" else status))
    return Inspection(
        run_dir=str(run_dir),
        preset=preset,
        status=status,
        reason=reason,
        heartbeat_age_s=_age_s(run_dir / HEARTBEAT_FILE, now),
        progress=_progress(run_dir, lives[-1], steps, status, sign),
        checkpoint=_newest_checkpoint(run_dir, now),
        faults=_count_faults(run_dir, summaries),
        lives=summaries,
    )


def _read_plan(path: Path) -> tuple[str, int]:
    """Return the preset and the number of steps of a run."""
    try:
        config = read_json(path)["config"]
        return config["preset"], config["train"]["steps"]
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: no configuration of a run: {error!r}") from error


def _status(
    run_dir: Path, life: Life, *, idle_s: float, stale_after_s: float
) -> tuple[Status, str]:
    """Return the status and why."""
    number, held = life.start.life, is_held(run_dir)
    if life.end is not None:
        if held:
            return "running", "a new life is starting"
        ends: dict[str, Status] = {"done": "finished", "failed": "crashed"}
        return ends.get(life.end.outcome, "stopped"), f"life {number}: {life.end.outcome}"
    if held is False:
        return "crashed", f"life {number} was killed: it has no end, and nobody holds the run"
    if idle_s <= stale_after_s:
        return "running", f"last step or start {idle_s:.0f} s ago"
    why = "its process is there, and hangs or is stopped" if held else "it was killed, or hangs"
    return "stale", f"life {number} took no step for {idle_s:.0f} s: {why}"


def _last_sign_of_life(run_dir: Path, life: Life) -> float:
    """Return when the newest life began or took its newest step, in seconds since the epoch."""
    began = datetime.fromisoformat(life.start.started_at).timestamp()
    try:
        return max(began, (run_dir / HEARTBEAT_FILE).stat().st_mtime)
    except FileNotFoundError:
        return began


def _summarize(life: Life, open_end: str) -> LifeSummary:
    start, end = life.start, life.end
    return LifeSummary(
        life=start.life,
        processes=start.world_size,
        first_step=start.first_step,
        last_step=end.last_step if end else None,
        end=end.outcome if end else open_end,
        started_at=start.started_at,
        ended_at=end.ended_at if end else None,
    )


def _progress(run_dir: Path, life: Life, steps: int, status: Status, sign: float) -> Progress:
    recent = last_metrics(run_dir, RECENT_STEPS)
    step = int(recent[-1]["step"]) if recent else life.start.first_step
    losses = _numbers(recent, "train/loss_nats")
    speeds = _numbers(recent, "perf/tokens_per_s")
    taken = step - life.start.first_step
    began = datetime.fromisoformat(life.start.started_at).timestamp()
    s_per_step = (sign - began) / taken if taken > 1 else None
    end = None
    if status == "running" and s_per_step is not None:
        end = datetime.fromtimestamp(sign, UTC) + timedelta(seconds=s_per_step * (steps - step))
    return Progress(
        step=step,
        steps=steps,
        loss_nats=fmean(losses) if losses else None,
        tokens_per_s=median(speeds) if speeds else None,
        s_per_step=s_per_step,
        expected_end=end.isoformat(timespec="seconds") if end else None,
    )


def last_metrics(run_dir: Path, count: int) -> list[dict[str, Any]]:
    """Return the metrics of the newest steps, without reading those of all others.

    A line that is being written is left out.
    """
    path = run_dir / METRICS_FILE
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().split(b"\n")
    whole = lines[1 if begin else 0 : -1]
    return [json.loads(line) for line in whole[-count:]]


def _numbers(metrics: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [line[name] for line in metrics if line.get(name) is not None]


def _newest_checkpoint(run_dir: Path, now: float) -> CheckpointSummary | None:
    found = list_checkpoints(run_dir)
    if not found:
        return None
    root = found[-1]
    saved_at = (root / MANIFEST_FILE).stat().st_mtime
    return CheckpointSummary(path=str(root), step=step_of_checkpoint(root), age_s=now - saved_at)


def _age_s(path: Path, now: float) -> float | None:
    return now - path.stat().st_mtime if path.exists() else None


def _count_faults(run_dir: Path, lives: Sequence[LifeSummary]) -> FaultCounts:
    log = run_dir / LOG_DIR
    steps = Counter(str(line.get("kind")) for line in _json_lines(log / BAD_STEPS_FILE))
    events = Counter(str(line.get("event")) for line in _json_lines(log / EVENTS_FILE))
    ends = Counter(life.end for life in lives)
    return FaultCounts(
        skipped_steps=steps["not_finite"],
        loss_spikes=steps["spike"],
        failed_lives=ends["failed"],
        killed_lives=ends["killed"],
        hangs=events["hang"],
        failed_saves=events["failed_save"],
    )


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a log; one that a killed process tore is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if isinstance(content, dict):
                yield content
