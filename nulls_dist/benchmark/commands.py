"""Run this project's own commands in order, as a user would type them."""

import os
import shlex
import subprocess
import sys
import time
from typing import Any

from nulls_dist.errors import NullsError


class Commands:
    """Runs commands with this interpreter, each announced on stderr with the time so far."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Announce what happens next."""
        sys.stderr.write(f"\n[{time.monotonic() - self._started:4.0f} s] {text}\n")
        sys.stderr.flush()

    def python(self, *arguments: Any) -> str:
        """Run `python ARGUMENTS`; its log goes to stderr.

        Returns:
            Its standard output.

        Raises:
            NullsError: it failed.
        """
        command = [str(argument) for argument in arguments]
        self.say(f"python {shlex.join(command)}")
        done = subprocess.run(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            env={"OMP_NUM_THREADS": "1"} | os.environ,  # as torchrun would choose, with a warning
            text=True,
            check=False,
        )
        if done.returncode:
            raise NullsError(
                f"python {shlex.join(command)} ended with exit code {done.returncode}; see above"
            )
        return done.stdout
