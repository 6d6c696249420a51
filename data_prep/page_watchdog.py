"""Ends a process that spends too long on one page, so that a build fails instead of hanging.

A second process waits beside it: neither a signal handler nor a thread runs while the parser, which
is C, holds the interpreter. The page is never dropped for being slow, because what a corpus holds
would then depend on the machine; the build ends, and says which page to leave out.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class PageWatchdog:
    """Watches the process that makes it, for as long as that lives."""

    def __init__(self, max_seconds: float) -> None:
        """Start the second process.

        Args:
            max_seconds: longest time between the beginning and the end of a page.
        """
        reading, self._pipe = os.pipe()
        # Without site packages, as this file needs none; it ends when the pipe is closed.
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", __file__, str(max_seconds), str(os.getpid())],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)],
        )
        os.close(reading)

    @contextmanager
    def watch(self, page: str) -> Iterator[None]:
        """Allow the body `max_seconds`.

        Args:
            page: names the page in the error.
        """
        os.write(self._pipe, " ".join(page.split()).encode()[:1000] + b"\n")
        try:
            yield
        finally:
            os.write(self._pipe, b"\n")


def guard(max_seconds: float, process: int) -> None:
    """Read the names of pages from standard input; kill the process when one stays too long.

    Args:
        max_seconds: time that a name may be the last line; an empty line waits for ever.
        process: whom to kill.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard's is for the process watched
    page = rest = b""
    while True:
        if not select.select([0], [], [], max_seconds if page else None)[0]:
            name = page.decode(errors="replace")
            sys.stderr.write(
                f"error: {name} takes more than {max_seconds:g} s to clean; the build ends here. "
                "Leave the page out with --exclude\n"
            )
            if os.getppid() == process:
                os.kill(process, signal.SIGKILL)
            return
        data = os.read(0, 1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        page = lines[-1] if lines else page


if __name__ == "__main__":
    guard(float(sys.argv[1]), int(sys.argv[2]))
