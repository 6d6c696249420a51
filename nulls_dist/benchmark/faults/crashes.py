"""Every crash of a recorded change: what would a reader find?"""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nulls_dist.benchmark.faults.disk import Acknowledged, Disk, Operation, lose_power, unflushed
from nulls_dist.benchmark.faults.outcome import Fault

Reader = Callable[[Path, bool], Sequence[str]]
"""Reads a tree after a crash, told whether the change was acknowledged before; returns what is
wrong with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """One crash of a recorded change."""

    place: str
    left: Disk
    is_acknowledged: bool


def kills(start: Disk, operations: Sequence[Operation]) -> Iterator[Crash]:
    """Yield the disk after every prefix of the operations, none and all of them included."""
    for count in range(len(operations) + 1):
        done = operations[:count]
        yield Crash(
            place=f"killed after operation {count} of {len(operations)}",
            left=start.apply(done),
            is_acknowledged=_is_acknowledged(done),
        )


def power_losses(
    start: Disk, operations: Sequence[Operation], *, count: int, seed: int
) -> Iterator[Crash]:
    """Yield disks after power losses at random places, a random part of what was not flushed gone.

    Every tenth power is lost after the last operation.
    """
    draws = random.Random(seed)
    places = [place for place in range(len(operations) + 1) if unflushed(operations[:place])] or [
        len(operations)
    ]
    for number in range(count):
        place = len(operations) if number % 10 == 0 else draws.choice(places)
        done = operations[:place]
        yield Crash(
            place=f"power loss {number} (seed {seed}) after operation {place}",
            left=start.apply(lose_power(done, draws)),
            is_acknowledged=_is_acknowledged(done),
        )


def _is_acknowledged(operations: Sequence[Operation]) -> bool:
    return any(isinstance(operation, Acknowledged) for operation in operations)


def read_after(crashes: Iterator[Crash], read: Reader, fault: Fault, folder: Path) -> None:
    """Let a reader look at what each crash left.

    Args:
        crashes: to look at.
        read: the reader.
        fault: counts the tries.
        folder: where the trees are written, one after another; it must not exist.
    """
    for crash in crashes:
        crash.left.write_to(folder)
        fault.record(read(folder, crash.is_acknowledged), place=crash.place)
        shutil.rmtree(folder)
