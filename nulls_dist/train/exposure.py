"""Logs what this rank trains on, where a run asks for it."""

from pathlib import Path

from nulls_dist.data.exposure_log import ExposureWriter
from nulls_dist.train.hooks import Hook, StepEvent


class ExposureLog(Hook):
    """Logs the segments of every step that was taken."""

    def __init__(self, path: Path) -> None:
        self._log = ExposureWriter(path)

    def after_step(self, event: StepEvent) -> None:
        """Log the step's segments."""
        self._log.append(event.step, event.batches)

    def before_checkpoint(self, step: int) -> None:
        """Make the log survive whatever the checkpoint survives."""
        self._log.sync()

    def close(self) -> None:
        """End the log."""
        self._log.close()
