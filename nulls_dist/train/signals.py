"""A polite request to stop: SIGTERM (preemption) or SIGUSR1 (time limit near)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Remembers that a stop signal came; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.requested = False

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
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
