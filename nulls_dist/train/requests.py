"""What a run is asked to do while it trains: by signals, and by files that a person makes.

RUN/STOP asks it to save and leave as a signal does, RUN/SAVE to save and go on. Ranks agree on what
any of them was asked within the next step, so all of them act after the same one.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from nulls_dist.train.hooks import Hook
from nulls_dist.train.run_files import SAVE_FILE, STOP_FILE
from nulls_dist.train.signals import StopRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Requests:
    """What one rank was asked to do; what a step returns, any rank was."""

    stop: bool = False
    """A signal: save and leave; whoever sent it may start the run again."""
    halt: bool = False
    """STOP: save and leave, until a person starts the run again."""
    save: bool = False
    """SAVE: save and go on."""

    @property
    def leave(self) -> bool:
        """Say whether the run shall end before its last step."""
        return self.stop or self.halt


class RequestWatch(Hook):
    """Looks for requests before every step; answers each file once.

    A file disappears when a checkpoint is complete that was begun after the file was noticed. If
    that save fails, the next checkpoint answers the request. What cannot be removed, such as a
    directory of that name, asks once.
    """

    def __init__(self, signals: StopRequest, run_dir: Path | None) -> None:
        """Listen to signals on every rank, and on one of them look into the run directory.

        Args:
            signals: of this process.
            run_dir: directory of the run; None on ranks that do not look there.
        """
        self._signals = signals
        self._run_dir = run_dir
        self._noticed: set[str] = set()
        self._being_answered: set[str] = set()

    def look(self) -> Requests:
        """Return what is asked of this rank now."""
        halt, save = (self._notice(name) for name in (STOP_FILE, SAVE_FILE))
        return Requests(stop=self._signals.requested, halt=halt, save=save)

    def _notice(self, name: str) -> bool:
        """Say whether a file has appeared since the last look."""
        if self._run_dir is None or not (self._run_dir / name).exists():
            self._noticed.discard(name)
            return False
        if name in self._noticed:
            return False
        self._noticed.add(name)
        logger.info("found %s", self._run_dir / name, extra={"event": "request"})
        return True

    def before_checkpoint(self, step: int) -> None:
        """Remember what this checkpoint answers."""
        self._being_answered = set(self._noticed)

    def after_checkpoint(self, root: Path, step: int) -> None:
        """Remove the files that it answered."""
        if self._run_dir is None:
            return
        for name in self._being_answered:
            try:
                (self._run_dir / name).unlink(missing_ok=True)
            except OSError as error:  # this rank must not fail where the others go on
                logger.warning("%s is answered, but stays: %s; remove it", name, error.strerror)
            else:
                self._noticed.discard(name)
        self._being_answered = set()
