"""SIGKILL of any rank at a random moment of a save.

Lives of one run follow each other: each continues from what the killed one left, saves after every
step, and is killed in turn, until the run is finished and another one begins.
"""

import random
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.faults.crew import Job
from nulls_dist.benchmark.faults.outcome import Fault, scaled
from nulls_dist.benchmark.faults.workshop import (
    Undisturbed,
    Workshop,
    digests_by_step,
    leftovers,
    newest_step,
    train_undisturbed,
)
from nulls_dist.checkpoint.format import MANIFEST_FILE
from nulls_dist.checkpoint.store import list_checkpoints, step_directory
from nulls_dist.durable import partial_directory
from nulls_dist.errors import IntegrityError
from nulls_dist.train.checkpointing import LATEST_FILE

_KILLS: Final = 100
"""Of each way to save."""
_STEPS: Final = 24
_KEPT: Final = 3
_LONGEST_SAVE_S: Final = 0.12
"""A kill comes up to this long after the save began."""
_LAUNCHER_S: Final = 0.2
"""A launcher kills the other ranks up to this long after the first one."""


def kill_while_saving(shop: Workshop) -> list[Fault]:
    """Kill ranks while they save, beside training and while it waits."""
    settings = {"train.steps": _STEPS, "train.save_every": 1}
    whole = train_undisturbed(shop, "saved-every-step", settings)
    return [
        _kill_lives(shop, whole, settings, asynchronous=asynchronous)
        for asynchronous in (False, True)
    ]


def _kill_lives(
    shop: Workshop, whole: Undisturbed, settings: Mapping[str, object], *, asynchronous: bool
) -> Fault:
    how = "async" if asynchronous else "sync"
    fault = Fault(
        fault=f"SIGKILL of a rank during a save, {how}",
        promise="the newest checkpoint is complete, not older than the last acknowledged one, and "
        "has the bytes of the undisturbed run; the next life continues from it",
    )
    fault.count("unfinished saves left behind", 0)
    fault.count("runs brought to their end", 0)
    draws = random.Random(f"kills {how}")
    kills = scaled(_KILLS, shop.share)
    run = 0
    while fault.tries < kills:
        run_dir = shop.work / f"killed-{how}-{run}"
        wanted = {
            **settings,
            "train.keep_last": _KEPT,
            "train.async_save": str(asynchronous).lower(),
        }
        arguments = shop.arguments(run_dir, wanted)
        while fault.tries < kills:
            before = newest_step(run_dir)
            job = shop.start(arguments, run_dir)
            if not _kill_in_a_save(job, run_dir, before, draws):
                _check_end(fault, job, whole, run_dir)
                break
            fault.count("unfinished saves left behind", _num_unfinished(run_dir))
            place = f"run {run} after step {before}"
            fault.record(_problems(run_dir, before, whole, job), place=place)
        run += 1
        shutil.rmtree(run_dir)
    return fault


def _kill_in_a_save(job: Job, run_dir: Path, before: int, draws: random.Random) -> bool:
    """Kill a rank in one of the next saves, then all; say whether they still ran."""
    step = before + draws.randint(1, 4)
    if step > _STEPS:
        return False
    final = step_directory(run_dir, step)
    watched = partial_directory(final)
    if draws.random() < 0.5:
        watched /= MANIFEST_FILE  # half of the kills come around the end of the save
    if not job.wait_until(lambda: _has_begun(watched, job) or final.exists()):
        return False
    time.sleep(draws.uniform(0, _LONGEST_SAVE_S))
    job.send(signal.SIGKILL, draws.randrange(len(job.ranks)))
    time.sleep(draws.uniform(0, _LAUNCHER_S))
    killed = any(process.exitcode != 0 for process in job.ranks)
    job.kill()
    return killed


def _has_begun(watched: Path, job: Job) -> bool:
    """Say whether this life has made a path: it speaks once it removed what the last one left."""
    log = job.logs[0]
    return log.exists() and log.stat().st_size > 0 and watched.exists()


def _num_unfinished(run_dir: Path) -> int:
    """Return how many saves were cut short; what retention was removing is none."""
    newest = newest_step(run_dir)
    return sum(
        int(name.split(".")[1].removeprefix("step-")) > newest for name in leftovers(run_dir)
    )


def _problems(run_dir: Path, before: int, whole: Undisturbed, job: Job) -> list[str]:
    problems = []
    latest = run_dir / LATEST_FILE
    acknowledged = int(latest.read_text(encoding="ascii")) if latest.exists() else 0
    newest = newest_step(run_dir)
    if newest < max(acknowledged, before):
        problems.append(f"newest step {newest}, but {acknowledged} was acknowledged")
    if before and f"step-{before:08d}" not in job.said():
        problems.append(f"did not continue from step {before}: {job.said()[-500:]}")
    try:
        found = digests_by_step(run_dir)
    except IntegrityError as error:
        return [*problems, str(error)]
    mixed = [step for step, digests in found.items() if digests != whole.digests[step]]
    if mixed:
        problems.append(f"checkpoints of steps {mixed} differ from the undisturbed run's")
    return problems


def _check_end(fault: Fault, job: Job, whole: Undisturbed, run_dir: Path) -> None:
    """Look at a life that nothing killed: it must end as the undisturbed run did."""
    codes = job.wait()
    problems = [f"exit codes {codes}: {job.said()[-500:]}"] if any(codes) else []
    problems = problems or whole.differences(run_dir)
    problems += [f"left {names}" for names in [leftovers(run_dir)] if names]
    if len(list_checkpoints(run_dir)) > _KEPT:
        problems.append(f"kept more than {_KEPT} checkpoints")
    fault.count("runs brought to their end")
    if problems:
        fault.record(problems, place=f"{run_dir.name}, to its end")
