"""What happens besides training: evaluation, reports, retention. The loop knows this contract."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nulls_dist.data.batches import Microbatch
from nulls_dist.train.run_files import HEARTBEAT_FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent:
    """A step that was taken, or skipped because its loss or gradient was not finite."""

    step: int
    """Steps taken so far."""
    is_last: bool
    """Whether it is the run's last step."""
    batches: list[Microbatch]
    """What this rank trained on."""
    metrics: dict[str, Any]
    """Name with unit -> value, equal on all ranks; a hook may add to it for those after it."""
    engine: Any
    """The DeepSpeed engine."""


class Hook:
    """Does nothing; a hook overrides what it needs.

    All ranks call the hooks they have in the same order. A hook that communicates must exist on
    every rank.
    """

    def after_step(self, event: StepEvent) -> None:
        """Act after an optimizer step."""

    def before_checkpoint(self, step: int) -> None:
        """Act before a checkpoint is begun."""

    def after_checkpoint(self, root: Path, step: int) -> None:
        """Act after a checkpoint was published, or was found to be there already."""

    def close(self) -> None:
        """Release what the hook holds; called also when training failed."""


class Heartbeat(Hook):
    """Touches a file after every step, for whoever watches for a hang."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / HEARTBEAT_FILE

    def after_step(self, event: StepEvent) -> None:
        """Touch the file."""
        self._path.touch()
