"""Checkpoints of a run are removed when enough newer ones exist."""

import logging
import shutil
from pathlib import Path

from nulls_dist import durable
from nulls_dist.checkpoint.store import list_checkpoints, step_of_checkpoint
from nulls_dist.train.hooks import Hook

logger = logging.getLogger(__name__)


class Retention(Hook):
    """Keeps some checkpoints; others disappear whole, after a newer one is published."""

    def __init__(self, run_dir: Path, keep_last: int, *, keep_every: int = 0) -> None:
        """Choose what stays.

        Args:
            run_dir: directory of the run.
            keep_last: how many of the newest, at least 1.
            keep_every: those whose step is a multiple of it, too; 0 for none.
        """
        assert keep_last >= 1, "the newest checkpoint is never removed"
        self._run_dir = run_dir
        self._keep_last = keep_last
        self._keep_every = keep_every

    def after_checkpoint(self, root: Path, step: int) -> None:
        """Remove what is older than the newest ones and no multiple."""
        for old in list_checkpoints(self._run_dir)[: -self._keep_last]:
            if self._keep_every and step_of_checkpoint(old) % self._keep_every == 0:
                continue
            leaving = durable.partial_directory(old)
            shutil.rmtree(leaving, ignore_errors=True)
            old.rename(leaving)  # under a dot-name it is no checkpoint any more
            durable.sync_path(old.parent)  # or a power loss brings the name back, without files
            shutil.rmtree(leaving)
            message, event = "removed %s: train.keep_last is %d", {"event": "retention"}
            logger.info(message, old.name, self._keep_last, extra=event)
