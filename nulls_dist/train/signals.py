"""What signals ask of a run: to stop politely, or to tell where it hangs.

SIGTERM (preemption), SIGUSR1 (time limit near) and SIGINT (Ctrl-C) ask it to save and leave,
SIGUSR2 to write the stacks of all threads to stderr and go on.
"""

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_STDERR: Final = 2
"""The file descriptor; whatever became of sys.stderr, it is the one that a launcher logs."""

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Remembers that a stop signal came; the loop looks at it between steps.

    A second Ctrl-C does not wait for the save.
    """

    def __init__(self) -> None:
        self.requested = False

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Handle stop signals for the duration of a block, then restore what was there."""
    request = StopRequest()
    before = {number: signal.signal(number, request._remember) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stack_dumps() -> Iterator[None]:
    """Answer SIGUSR2 for the duration of a block, also while a thread waits in a collective."""
    faulthandler.register(signal.SIGUSR2, file=_STDERR, all_threads=True)
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR2)
