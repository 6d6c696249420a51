"""A trace of some steps for chrome://tracing or Perfetto."""

import logging
from pathlib import Path
from typing import Final

from torch.profiler import profile

from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.run_files import LOG_DIR

logger = logging.getLogger(__name__)

TRACE_FILE: Final = "profile-rank0000.json"


class StepProfiler(Hook):
    """Traces one rank during a range of steps, with what follows each: evaluation and reports.

    Steps that an earlier life of the run took are not traced; a run that ends inside the range
    leaves the trace of what it did.
    """

    def __init__(self, run_dir: Path, steps: range, *, first_step: int) -> None:
        """Prepare to trace.

        Args:
            run_dir: directory of the run.
            steps: from 0.
            first_step: first step that this life takes.
        """
        self._path = run_dir / LOG_DIR / TRACE_FILE
        self._steps = range(max(steps.start, first_step), steps.stop)
        self._profile = profile()
        self._is_tracing = False
        if not self._steps:
            logger.warning("--profile: step %d was taken before; nothing to trace", steps.stop)
        self._start_if_due(first_step)

    def after_step(self, event: StepEvent) -> None:
        """Start before the first step of the range, write after the last."""
        self._start_if_due(event.step)
        if event.step == self._steps.stop:
            self.close()

    def _start_if_due(self, next_step: int) -> None:
        if self._steps and next_step == self._steps.start:
            self._profile.start()
            self._is_tracing = True

    def close(self) -> None:
        """Write the trace, if there is one that was not written."""
        if not self._is_tracing:
            return
        self._is_tracing = False
        self._profile.stop()
        self._path.parent.mkdir(exist_ok=True)
        partial = self._path.with_suffix(".partial")
        self._profile.export_chrome_trace(str(partial))
        partial.replace(self._path)
