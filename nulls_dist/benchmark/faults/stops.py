"""SIGTERM, a rank that dies, a rank that stops: the run ends, and continues to the same bytes."""

import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.crew import Job
from nulls_dist.benchmark.faults.outcome import Fault, scaled
from nulls_dist.benchmark.faults.workshop import (
    Undisturbed,
    Workshop,
    leftovers,
    metrics_of,
    newest_step,
    train_undisturbed,
)
from nulls_dist.errors import TemporaryError
from nulls_dist.train.outcome import OUTCOME_FILE
from nulls_dist.train.run_files import HEARTBEAT_FILE

_STEPS: Final = 24
_SAVE_EVERY: Final = 5
_LEAVE_S: Final = 30.0
"""Slurm's default time between SIGTERM and SIGKILL (KillWait)."""
_DEATH_S: Final = 100.0
"""A writer waits up to 90 s for the files of a rank that will never come."""
_HANG_S: Final = 5.0
"""Without a step for so long, a watch ends the run; `slurm/pretrain_1b.sh` has its own figure."""
_STACKS_S: Final = 1.0
"""Time that the ranks have to write their stacks."""

_Interruption = Callable[[Job, Path, random.Random], list[str]]


def interrupt_runs(shop: Workshop) -> list[Fault]:
    """Interrupt runs of two ranks at random steps and finish them."""
    settings = {"train.steps": _STEPS, "train.save_every": _SAVE_EVERY}
    whole = train_undisturbed(shop, "uninterrupted", settings)
    told = Fault(
        fault="SIGTERM to one rank",
        promise=f"all ranks save their last step and leave with exit code 75 within {_LEAVE_S:.0f} "
        "s; the resumed run equals the uninterrupted one bitwise",
    )
    killed = Fault(
        fault="SIGKILL of one rank",
        promise=f"the other one ends with an error, not 0, within {_DEATH_S:.0f} s; the resumed "
        "run equals the uninterrupted one bitwise",
    )
    stopped = Fault(
        fault="SIGSTOP of one rank",
        promise=f"after {_HANG_S:.0f} s without a step the waiting rank writes where it hangs and "
        "all are killed; the resumed run equals the uninterrupted one bitwise",
    )
    for fault, interrupt, tries in (
        (told, partial(_ask_to_stop, told), 50),
        (killed, partial(_kill_one, killed), 20),
        (stopped, partial(_stop_one, stopped), 5),
    ):
        _interrupt(shop, fault, interrupt, whole, settings, scaled(tries, shop.share))
    return [told, killed, stopped]


def _interrupt(
    shop: Workshop,
    fault: Fault,
    interrupt: _Interruption,
    whole: Undisturbed,
    settings: Mapping[str, object],
    tries: int,
) -> None:
    draws = random.Random(fault.fault)
    while fault.tries < tries:
        run_dir = shop.work / "interrupted"
        arguments = shop.arguments(run_dir, settings)
        step = draws.randrange(1, _STEPS - 1)
        job = shop.start(arguments, run_dir)
        if not job.wait_until(partial(_has_taken, run_dir, step)):
            job.wait()
            fault.record([f"ended before step {step}: {job.said()[-500:]}"], place="start")
            shutil.rmtree(run_dir, ignore_errors=True)
            continue
        problems = interrupt(job, run_dir, draws)
        if (run_dir / OUTCOME_FILE).exists() and newest_step(run_dir) == _STEPS:
            shutil.rmtree(run_dir)  # it was at its end already
            continue
        if not problems:
            codes = (life := shop.start(arguments, run_dir)).wait()
            problems = [f"resumed: {codes}: {life.said()[-500:]}"] if any(codes) else []
            problems = problems or whole.differences(run_dir)
            problems += [f"left {names}" for names in [leftovers(run_dir)] if names]
        fault.record(problems, place=f"step {step}")
        shutil.rmtree(run_dir)


def _has_taken(run_dir: Path, step: int) -> bool:
    path = run_dir / "metrics.jsonl"
    return path.exists() and path.read_bytes().count(b"\n") >= step


def _is_silent(heartbeat: Path) -> bool:
    return heartbeat.exists() and time.time() - heartbeat.stat().st_mtime > _HANG_S


def _ask_to_stop(fault: Fault, job: Job, run_dir: Path, draws: random.Random) -> list[str]:
    job.send(signal.SIGTERM, draws.randrange(len(job.ranks)))
    started = time.monotonic()
    codes = job.wait(_LEAVE_S)
    fault.measure("longest until all had left, s", time.monotonic() - started)
    if any(code != TemporaryError.exit_code for code in codes):
        return [f"exit codes {codes}: {job.said()[-500:]}"]
    problems = []
    if (outcome := (run_dir / OUTCOME_FILE).read_text(encoding="ascii")) != "stopped\n":
        problems.append(f"outcome {outcome!r}")
    if newest_step(run_dir) != (last := metrics_of(run_dir)[-1]["step"]):
        problems.append(f"newest checkpoint {newest_step(run_dir)}, last step {last}")
    return problems


def _kill_one(fault: Fault, job: Job, _run_dir: Path, draws: random.Random) -> list[str]:
    job.send(signal.SIGKILL, draws.randrange(len(job.ranks)))
    started = time.monotonic()
    codes = job.wait(_DEATH_S)
    fault.measure("longest until all had left, s", time.monotonic() - started)
    return [] if all(codes) else [f"exit codes {codes}: {job.said()[-500:]}"]


def _stop_one(fault: Fault, job: Job, run_dir: Path, draws: random.Random) -> list[str]:
    """Stop a rank and do what the watch of a job does (`slurm/pretrain_1b.sh`)."""
    rank = draws.randrange(len(job.ranks))
    job.send(signal.SIGSTOP, rank)
    started = time.monotonic()
    if not job.wait_until(lambda: _is_silent(run_dir / HEARTBEAT_FILE)):
        return [f"ended by itself: {job.said()[-500:]}"]
    for other in range(len(job.ranks)):
        job.send(signal.SIGUSR2, other)
    time.sleep(_STACKS_S)
    job.kill()
    fault.measure("longest until all had left, s", time.monotonic() - started)
    codes = [process.exitcode for process in job.ranks]
    stacks = job.logs[1 - rank].read_text(encoding="utf-8", errors="replace")
    problems = [] if all(codes) else [f"exit codes {codes}"]
    if "most recent call first" not in stacks or "train_step" not in stacks:
        problems.append(f"the waiting rank did not say where it hangs: {stacks[-500:]}")
    return problems
