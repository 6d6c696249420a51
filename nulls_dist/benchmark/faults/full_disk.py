"""A disk that becomes full, and files that may not grow."""

import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.faults.outcome import Fault, scaled
from nulls_dist.benchmark.faults.workshop import (
    Undisturbed,
    Workshop,
    digests_by_step,
    leftovers,
    train_undisturbed,
)
from nulls_dist.errors import InputError, IntegrityError

_STEPS: Final = 6
_SAVE_EVERY: Final = 2
_SIZES: Final = 20
_SMALLEST, _LARGEST = 0.05, 1.1
"""Of what the run needs."""
_REMEDY: Final = "check the path, its permissions and the free space"


def fill_disks(shop: Workshop) -> list[Fault]:
    """Train on file systems of many sizes, and with limits on the length of files."""
    settings = {"train.steps": _STEPS, "train.save_every": _SAVE_EVERY}
    whole = train_undisturbed(shop, "with-room", settings, num_ranks=1)
    run_dir = shop.work / "with-room"
    files = [path.stat().st_size for path in run_dir.rglob("*") if path.is_file()]
    full = Fault(
        fault="disk full, tmpfs",
        promise="exit code 0, or 3 with the reason and the remedy; all checkpoints that are there "
        "have the undisturbed run's bytes, no partial one is left; with room the run is finished "
        "by the same command, to the same bytes",
    )
    limited = Fault(
        fault="files may not grow (RLIMIT_FSIZE)",
        promise="as on a full disk",
    )
    shares = _spread(scaled(_SIZES, shop.share))
    for number, share in enumerate(shares):
        wanted = {**settings, "train.async_save": "true" if number % 2 else "false"}
        _fill(shop, full, wanted, whole, int(share * sum(files)), 2 * sum(files))
    for number, share in enumerate(shares):
        wanted = {**settings, "train.async_save": "true" if number % 2 else "false"}
        limit = int(share * max(files))
        place = shop.work / "limited"
        place.mkdir()
        _train_until_full(
            shop, limited, wanted, whole, place, ("File too large",), largest_file=limit
        )
        shutil.rmtree(place)
    return [full, limited]


def _spread(count: int) -> list[float]:
    step = (_LARGEST - _SMALLEST) / max(1, count - 1)
    return [_SMALLEST + step * index for index in range(count)]


def _fill(
    shop: Workshop,
    fault: Fault,
    settings: Mapping[str, object],
    whole: Undisturbed,
    size: int,
    enough: int,
) -> None:
    with _small_disk(shop.work / "small-disk", size) as place:
        if place is None:
            fault.skipped = "mounting is not permitted here"
            return
        _train_until_full(
            shop, fault, settings, whole, place, ("No space left on device",), enough=enough
        )


def _train_until_full(
    shop: Workshop,
    fault: Fault,
    settings: Mapping[str, object],
    whole: Undisturbed,
    place: Path,
    reasons: Sequence[str],
    *,
    largest_file: int = resource.RLIM_INFINITY,
    enough: int = 0,
) -> None:
    """Train, look at what is there, and finish with more room.

    Args:
        shop: where.
        fault: counts the try.
        settings: overrides of the preset.
        whole: what the run is compared with.
        place: where the run directory goes.
        reasons: of which one must be said.
        largest_file: bytes that a file may have at first.
        enough: bytes that a mounted `place` is given in the end; 0 where none is mounted.
    """
    run_dir = place / "run"
    arguments = shop.arguments(run_dir, settings)
    job = shop.start(arguments, run_dir, num_ranks=1, largest_file=largest_file)
    (code,) = job.wait()
    said = job.said()
    problems = _problems(run_dir, whole)
    if code == InputError.exit_code:
        fault.count("runs that ended for lack of room")
        if _REMEDY not in said or not any(reason in said for reason in reasons):
            problems.append(f"no reason and remedy: {said[-500:]}")
    elif code:
        problems.append(f"exit code {code}: {said[-500:]}")
    if enough:
        _mount(f"remount,size={enough}", place)
    job = shop.start(arguments, run_dir, num_ranks=1)
    (code,) = job.wait()
    problems += [f"with room: exit code {code}: {job.said()[-500:]}"] if code else []
    problems += [] if problems else whole.differences(run_dir)
    how = "async" if settings["train.async_save"] == "true" else "sync"
    fault.record(problems, place=f"try {fault.tries}, {how}")


def _problems(run_dir: Path, whole: Undisturbed) -> list[str]:
    """Look at the checkpoints of a run that ended."""
    problems = [f"left {names}" for names in [leftovers(run_dir)] if names]
    try:
        found = digests_by_step(run_dir)
    except IntegrityError as error:
        return [*problems, str(error)]
    changed = [step for step, digests in found.items() if digests != whole.digests[step]]
    return [*problems, f"checkpoints of steps {changed} changed"] if changed else problems


@contextmanager
def _small_disk(place: Path, size: int) -> Iterator[Path | None]:
    """Mount a file system in memory for a block; None where that is not permitted."""
    place.mkdir()
    try:
        if not _mount(f"size={size}", place):
            yield None
            return
        try:
            yield place
        finally:
            subprocess.run(["umount", str(place)], check=True)
    finally:
        place.rmdir()


def _mount(options: str, place: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
