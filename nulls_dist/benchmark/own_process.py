"""Run a function or a command in a process of its own and measure what that takes.

Neither this nor the module of a measured function may import PyTorch, whose libraries would be
counted.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from nulls_dist.errors import NullsError
from nulls_dist.parallel.quiet import import_quietly

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")


def run_alone(
    step: Callable[ParametersT, ResultT],
    *arguments: ParametersT.args,
    **options: ParametersT.kwargs,
) -> ResultT:
    """Run a step in a fresh process, which holds nothing of this one's memory.

    Args:
        step: a function of a module.
        arguments: its arguments, picklable.
        options: likewise, by name.
    """
    with ProcessPoolExecutor(  # unpickling the step would import its module, warnings and all
        1,
        mp_context=get_context("spawn"),
        initializer=import_quietly,
        initargs=(step.__module__,),
    ) as pool:
        return pool.submit(step, *arguments, **options).result()


def measure_alone(step: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run a step in a fresh process.

    Args:
        step: a function of a module; returns figures.
        arguments: its arguments, picklable.

    Returns:
        Its figures and "seconds", "cpu_seconds", "peak_mib" of the process.
    """
    return run_alone(_measured, step, arguments)


def measure_command(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, quiet: bool = False
) -> dict[str, float]:
    """Run a command, its standard output thrown away, and measure it from outside.

    Args:
        command: program and arguments.
        environment: of the command; this process's by default.
        quiet: whether its log is held back and shown only where it fails.

    Returns:
        "seconds"; "cpu_seconds" of all its processes; "peak_mib", resident memory of the largest
        of them, mapped files included.

    Raises:
        NullsError: it failed.
    """
    started = time.monotonic()
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
    ) as process:
        log = process.stderr.read() if process.stderr else "see above"
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise NullsError(f"{' '.join(command)} ended with exit code {process.returncode}:\n{log}")
    return {
        "seconds": time.monotonic() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def read_memory() -> dict[str, float]:
    """Return what this process holds, in MiB.

    Returns:
        "VmRSS", resident; "VmHWM", resident at most; "RssAnon", allocated by itself.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = (line.split() for line in lines if line.startswith(("VmRSS:", "VmHWM:", "RssAnon:")))
    return {name.rstrip(":"): int(kib) / 1024 for name, kib, _ in fields}


def _measured(step: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    figures = step(*arguments)
    return figures | {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": read_memory()["VmHWM"],
    }
