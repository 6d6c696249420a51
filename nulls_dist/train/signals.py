"""A polite request to stop: SIGTERM (preemption), SIGUSR1 (time limit near) or SIGINT (Ctrl-C)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

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
