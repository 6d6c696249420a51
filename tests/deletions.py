"""Deletions without their paperwork."""

from pathlib import Path

from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.unlearn.plan import DeletionPlan
from nulls_dist.unlearn.strip import stripped_checkpoint


def write_stripped(checkpoint: Checkpoint, plan: DeletionPlan, out: Path) -> None:
    """Write the checkpoint without the deleted sources."""
    with stripped_checkpoint(checkpoint, plan, out):
        pass
