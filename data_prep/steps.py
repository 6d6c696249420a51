"""Steps of a build that are done once, also when the build is killed and started again."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nulls_dist.durable import read_json, write_json

ResultT = TypeVar("ResultT")


def do_once(marker: Path, work: Callable[[], ResultT]) -> ResultT:
    """Return what `work` returned, calling it only where `marker` does not hold that yet.

    Args:
        marker: file that says that the step is done. What `work` wrote is on the device by then.
        work: gives the same files and result each time; the result is JSON-ready.
    """
    if marker.exists():
        result: ResultT = read_json(marker)
        return result
    result = work()
    write_json(marker, result)
    return result
