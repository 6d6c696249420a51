"""RUN/log/events.jsonl: what happened to a run and when, one line of JSON per event.

Rank 0 writes the project's own log there, and the checkpoints that were published. A line has
`time` (UTC), `life`, `level`, `event` and `message`.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nulls_dist.train.hooks import Hook
from nulls_dist.train.run_files import EVENTS_FILE, LOG_DIR

_LOGGER: Final = logging.getLogger("nulls_dist")


class EventLog(Hook):
    """Appends events to the log of a run.

    What cannot be written is reported on stderr and stops nothing.
    """

    def __init__(self, run_dir: Path, life: int) -> None:
        """Open the log for a life of a run."""
        path = run_dir / LOG_DIR / EVENTS_FILE
        path.parent.mkdir(exist_ok=True)
        _end_last_line(path)
        self._handler = logging.FileHandler(path, encoding="utf-8")
        self._handler.setFormatter(_EventLine(life))
        _LOGGER.addHandler(self._handler)

    def note(self, event: str, message: str, *, level: int = logging.INFO) -> None:
        """Write an event that is nowhere else in the log."""
        record = logging.LogRecord(_LOGGER.name, level, "", 0, message, None, None)
        record.event = event
        self._handler.handle(record)

    def after_checkpoint(self, root: Path, step: int) -> None:
        """Note a checkpoint."""
        self.note("checkpoint", f"step {step} is saved: {root.name}")

    def close(self) -> None:
        """Leave the log as it is."""
        _LOGGER.removeHandler(self._handler)
        self._handler.close()


def _end_last_line(path: Path) -> None:
    """End a line that a killed process tore, so that the next event has one of its own."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


class _EventLine(logging.Formatter):
    def __init__(self, life: int) -> None:
        super().__init__()
        self._life = life

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "life": self._life,
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "message"),
            "message": record.getMessage(),
        }
        return json.dumps(content)


@contextmanager
def event_log(run_dir: Path, life: int, *, rank: int) -> Iterator[Sequence[Hook]]:
    """Log events for the duration of a block, and the error that ends it; rank 0 alone does.

    Yields:
        The hook that notes checkpoints, none on other ranks.
    """
    if rank:
        yield ()
        return
    log = EventLog(run_dir, life)
    try:
        yield (log,)
    except BaseException as error:
        log.note("failed", f"{type(error).__name__}: {error}", level=logging.ERROR)
        raise
    finally:
        log.close()
