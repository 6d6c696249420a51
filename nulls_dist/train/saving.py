"""When checkpoints are written: beside training, or while it waits; at most one at a time.

At a save every rank takes a copy of its tensors in host memory, which a thread writes. Threads use
no collectives, which belong to training: they meet in the partial directory. The ranks' training
threads agree now and then, between steps, on whether a save has ended and how.
"""

import logging
import math
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import torch.distributed as dist
from torch import Tensor

from nulls_dist import durable
from nulls_dist.checkpoint.parts import collect_parts, open_partial, write_part
from nulls_dist.checkpoint.store import step_directory
from nulls_dist.errors import NullsError
from nulls_dist.train.checkpointing import checkpoint_tensors, data_cursor, publish_checkpoint
from nulls_dist.train.hooks import Hook
from nulls_dist.train.run import Run
from nulls_dist.train.step import sum_over_ranks

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.05
_NOTES_S: Final = 90.0
"""How long a note of another node may take to be seen; network file systems cache for a minute."""


class CheckpointSaver:
    """Saves a run's checkpoints.

    All ranks call `save` and `poll` at the same steps. A save that training does not wait for may
    fail: that is reported, and stops nothing.
    """

    def __init__(self, run: Run, engine: Any, hooks: Sequence[Hook]) -> None:
        """Save the engine of a run; tell the hooks what was published."""
        self._run = run
        self._engine = engine
        self._hooks = hooks
        self._writer: _Writer | None = None
        self._num_failed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let a save that is under way end when training failed; an impatient user ends it."""
        if self._writer is not None and isinstance(error, Exception):
            self._writer.expect_notes()
            self._writer.join()

    def metrics(self) -> dict[str, int]:
        """Return how many saves of this life failed so far, where a failure stops nothing."""
        asynchronous = self._run.config.train.async_save
        return {"checkpoint/failed_saves": self._num_failed} if asynchronous else {}

    def save(self, step: int, *, wait: bool) -> None:
        """Save after `step` optimizer steps, once the save before has ended.

        A checkpoint that exists already is left as it is: the same step of the same run has the
        same contents.

        Args:
            step: optimizer steps taken.
            wait: until the checkpoint is there; otherwise it is written beside training.

        Raises:
            OSError: training waited, and the checkpoint could not be written.
        """
        self._report(self._finish())
        failure = self._start(step, wait=wait) or (self._finish() if wait else "")
        if failure and wait:
            raise OSError(failure)
        self._report(failure)

    def poll(self) -> None:
        """Take notice of a save that has ended."""
        self._report(self._look())

    def _report(self, failure: str) -> None:
        if failure:
            self._num_failed += 1
            if self._run.groups.topology.rank == 0:
                event = {"event": "failed_save"}
                logger.warning("%s; training goes on", failure, extra=event)

    def _start(self, step: int, *, wait: bool) -> str:
        """Begin a save; return why none can be begun."""
        final = step_directory(self._run.run_dir, step)
        is_saved, failure = self._prepare(final)
        if failure:
            return failure
        for hook in self._hooks:
            hook.before_checkpoint(step)
        if is_saved:  # by a life that may have been killed before its hooks heard of it
            self._announce(final, step)
            return ""
        tensors = checkpoint_tensors(self._run, self._engine, step)
        # Training changes the tensors while they are written, unless it waits.
        files = {
            file: {name: value.to("cpu", copy=not wait) for name, value in values.items()}
            for file, values in tensors.items()
        }
        cursor = data_cursor(self._run, self._engine, step)
        self._writer = _Writer(self._run, final, cursor, files)
        self._writer.start()
        return ""

    def _prepare(self, final: Path) -> tuple[bool, str]:
        """Say whether the checkpoint exists and, if not, why it cannot be begun, as rank 0 sees it.

        On a slow file system others may see an older state.
        """
        found = [(final.exists(), "")]
        if self._run.groups.topology.rank == 0 and not final.exists():
            try:
                open_partial(final)
            except OSError as error:
                found = [(False, f"saving {final} failed: {error}")]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def _finish(self) -> str:
        """Wait for the save that is under way; return why it failed."""
        failure = ""
        while self._writer is not None:
            self._writer.join(_POLL_S)
            failure = self._look()
        return failure

    def _look(self) -> str:
        """Agree with the other ranks on whether the save has ended; return why it failed."""
        writer = self._writer
        if writer is None:
            return ""
        is_writing = writer.is_alive()
        (num_writing,) = sum_over_ranks([is_writing], self._engine.device)
        if num_writing:
            if is_writing and num_writing == 1:
                writer.expect_notes()
            return ""
        self._writer = None
        writer.raise_bug()
        failures = [f"saving {writer.final} failed: {writer.error}" if writer.error else ""]
        dist.broadcast_object_list(failures, src=0)
        if not failures[0]:
            self._announce(writer.final, writer.cursor["step"])
        elif self._run.groups.topology.rank == 0:
            shutil.rmtree(durable.partial_directory(writer.final), ignore_errors=True)
        return failures[0]

    def _announce(self, final: Path, step: int) -> None:
        for hook in self._hooks:
            hook.after_checkpoint(final, step)


class _Writer(threading.Thread):
    """One save on one rank.

    Attributes:
        final: directory of the checkpoint.
        cursor: where the data stood at the save.
        error: why it failed, once the thread has ended.
    """

    def __init__(
        self,
        run: Run,
        final: Path,
        cursor: dict[str, Any],
        files: dict[str, dict[str, Tensor]],
    ) -> None:
        super().__init__(name=f"save-{cursor['step']}", daemon=True)
        self.final = final
        self.cursor = cursor
        self.error: Exception | None = None
        self._run = run
        self._files = files
        self._num_ranks = dist.get_world_size()
        self._late_at = math.inf

    def run(self) -> None:
        """Write this rank's files; rank 0 then completes and publishes the checkpoint."""
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - the training thread decides what it means
            self.error = error

    def _write(self) -> None:
        partial = durable.partial_directory(self.final)
        rank = self._run.groups.topology.rank
        write_part(partial, rank, self._files)
        self._files = {}
        if rank == 0:
            records = collect_parts(
                partial, self._num_ranks, is_late=lambda: time.monotonic() > self._late_at
            )
            publish_checkpoint(self._run, self.final, self.cursor, records)

    def expect_notes(self) -> None:
        """Limit the time that rank 0 waits for notes: all other ranks have ended."""
        self._late_at = min(self._late_at, time.monotonic() + _NOTES_S)

    def raise_bug(self) -> None:
        """Raise an error that is none of files."""
        if self.error is not None and not isinstance(self.error, OSError | NullsError):
            raise self.error
