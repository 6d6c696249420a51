"""Run this project's own commands in order, as a user would type them."""

import os
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.own_process import measure_command
from nulls_dist.errors import InputError, NullsError

_TOOLS: Final = Path(__file__).resolve().parents[2] / "tools"


class Commands:
    """Runs commands with this interpreter, each announced on stderr with the time so far.

    They run in the current directory, so that paths mean what the user meant by them.
    """

    def __init__(self) -> None:
        """Start the clock.

        Raises:
            InputError: the package was installed without its tools.
        """
        if not _TOOLS.is_dir():
            raise InputError(
                f"{_TOOLS} is missing: an installed package has no tools; run from a checkout of "
                "the repository"
            )
        self._started = time.monotonic()

    @staticmethod
    def tool(name: str) -> Path:
        """Return the path of a tool's script, which holds in any current directory."""
        return _TOOLS / f"{name}.py"

    def say(self, text: str) -> None:
        """Announce what happens next."""
        sys.stderr.write(f"\n[{time.monotonic() - self._started:4.0f} s] {text}\n")
        sys.stderr.flush()

    def python(self, *arguments: Any, log: Path | None = None) -> str:
        """Run `python ARGUMENTS`.

        Args:
            arguments: of the command.
            log: file that its log is added to, where several run at once; otherwise it goes to
                stderr, after the command itself.

        Returns:
            Its standard output.

        Raises:
            NullsError: it failed.
        """
        command = [str(argument) for argument in arguments]
        words = f"python {shlex.join(command)}"
        with ExitStack() as stack:
            stderr = None
            if log is None:
                self.say(words)
            else:
                stderr = stack.enter_context(log.open("a", encoding="utf-8"))
                print(words, file=stderr, flush=True)
            done = subprocess.run(
                [sys.executable, *command],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={"OMP_NUM_THREADS": "1"} | os.environ,  # as torchrun, which warns of it
                text=True,
                check=False,
            )
        if done.returncode:
            place = "above" if log is None else log
            raise NullsError(f"{words} ended with exit code {done.returncode}; see {place}")
        return done.stdout

    @staticmethod
    def measure(*arguments: Any) -> dict[str, float]:
        """Run `python ARGUMENTS` without its standard output.

        Returns:
            "seconds", "cpu_seconds" and "peak_mib".

        Raises:
            NullsError: it failed.
        """
        return measure_command([sys.executable, *map(str, arguments)])
