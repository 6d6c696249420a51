"""Commands as a user would run them, many per process, and what each of them answered.

A process that imported everything is forked for a number of commands. It writes down each answer
at once: where it dies or hangs, the command is known, and another process takes the rest.
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Final, cast

from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.own_process import read_memory

Command = Sequence[str]
"""A module of the project, or a tool by its file's name, and the arguments."""

_PRELOAD: Final = "nulls_dist.benchmark.preload"
_TIMEOUT_S: Final = 60.0
"""For the longest that one command may take."""
_POLL_S: Final = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command answered."""

    code: int | None
    """Exit code; None where the process died or did not end in time."""
    said: str
    """Standard output and error."""
    grown_mib: float = 0.0
    """Resident memory at most, less what the process held before."""


def answer_all(commands: Sequence[Command], folder: Path) -> list[Answer]:
    """Run commands one after the other.

    Args:
        commands: to run.
        folder: for what they say.
    """
    answers: list[Answer] = []
    while len(answers) < len(commands):
        answers += _answer_some(commands[len(answers) :], folder)
        if len(answers) < len(commands):
            answers.append(Answer(code=None, said="died, or did not end in time"))
    return answers


def _answer_some(commands: Sequence[Command], folder: Path) -> list[Answer]:
    """Run commands in one process until one of them takes it down."""
    written = folder / "answers.jsonl"
    written.unlink(missing_ok=True)
    context = get_context("forkserver")
    context.set_forkserver_preload([_PRELOAD])
    process = context.Process(target=_serve, args=(list(commands), written), daemon=True)
    process.start()
    size, since = 0, time.monotonic()
    while process.is_alive() and time.monotonic() - since < _TIMEOUT_S:
        process.join(_POLL_S)
        if (now := written.stat().st_size if written.exists() else 0) > size:
            size, since = now, time.monotonic()
    process.kill()
    process.join()
    lines = written.read_text(encoding="utf-8").splitlines() if written.exists() else []
    return [Answer(**json.loads(line)) for line in lines]


def _serve(commands: Sequence[Command], written: Path) -> None:
    """Run commands, their output caught; ends the process."""
    said = written.with_suffix(".log")
    descriptor = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nobody answers questions
    with written.open("a", encoding="utf-8") as file:
        for command in commands:
            answer = _answer(command, descriptor)
            file.write(json.dumps(asdict(answer)) + "\n")
            file.flush()
    os._exit(0)  # threads that a library started may not survive an orderly end of a fork


def _answer(command: Command, descriptor: int) -> Answer:
    from nulls_dist.cli import run_command

    os.ftruncate(descriptor, 0)
    before = _forget_peak()
    try:
        code = run_command(_main_of(command[0]), command[1:])
    except SystemExit as end:  # of argparse
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    grown = read_memory()["VmHWM"] - before
    said = os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", errors="replace")
    return Answer(code=code, said=said, grown_mib=round(grown, 1))


def _forget_peak() -> float:
    """Let the kernel measure the peak of memory anew; return what is held now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return read_memory()["VmRSS"]


def _main_of(program: str) -> Callable[[Sequence[str]], None]:
    """Return the main function of a module, or of a tool's script."""
    if "." in program:
        main = import_module(program).main
    else:
        main = runpy.run_path(str(Commands.tool(program)))["main"]
    return cast("Callable[[Sequence[str]], None]", main)
