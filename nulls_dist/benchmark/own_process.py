"""Run a step in a process of its own and measure what it takes.

Neither this nor the step's module may import PyTorch, whose libraries would be counted.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def run_alone(step: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run a step in a fresh process.

    Args:
        step: a function of a module; returns figures.
        arguments: its arguments, picklable.

    Returns:
        Its figures and "seconds", "cpu_seconds", "peak_mib" of the process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, step, arguments).result()


def _measured(step: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    figures = step(*arguments)
    return figures | {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": _peak_kib() / 1024,
    }


def _peak_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("Linux reports VmHWM")
