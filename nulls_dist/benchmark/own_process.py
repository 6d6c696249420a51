"""Run a step in a process of its own and measure what it takes."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from nulls_dist.parallel.accelerator import peak_memory


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
        "peak_mib": peak_memory(torch.device("cpu")) / (1 << 20),
    }
