"""Write a checkpoint without some sources, and verify what was written.

The input is never touched. The output is a whole checkpoint: files of the experts concerned are
rewritten, all others are hard-linked.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nulls_dist.checkpoint.format import (
    MANIFEST_FILE,
    CheckpointManifest,
    expert_of_file,
    sink_weights_file,
)
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.durable import (
    FileRecord,
    check_outside,
    find_file,
    link_or_copy,
    new_directory,
    record_file,
    sha256_file,
    write_json,
)
from nulls_dist.errors import IntegrityError
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.unlearn.excise import (
    Excision,
    check_copy,
    check_excised,
    excise_file,
    excision_seed,
)
from nulls_dist.unlearn.plan import DeletionPlan, excisions_of, live_router, verifiable_sources

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenCheckpoint:
    """What was written and verified."""

    root: Path
    """Where it appears."""
    partial: Path
    """Where it lies until then, complete."""
    manifest: CheckpointManifest
    manifest_sha256: str
    rewritten: tuple[str, ...]
    linked: tuple[str, ...]
    num_values_verified: int
    """Elements in excised rows that were read back and compared."""


def default_output(root: Path) -> Path:
    """Return where a stripped checkpoint goes when no place is named: beside the input."""
    root = Path(os.path.abspath(root))  # not resolved: a link keeps its name
    return root.with_name(f"{root.name}-stripped")


def default_run_output(root: Path) -> Path:
    """Return where all stripped checkpoints of a run go when no place is named."""
    return default_output(Path(os.path.abspath(root)).parent)


@contextmanager
def stripped_checkpoint(
    checkpoint: Checkpoint, plan: DeletionPlan, out: Path
) -> Iterator[WrittenCheckpoint]:
    """Write the checkpoint without the deleted sources, verified, whole or not at all.

    It is published when the block ends without an error: what must exist before the output does,
    such as its report, is written inside the block.

    Raises:
        InputError: `out` exists or lies inside the input.
        IntegrityError: a file of the input is damaged, or the output does not verify.
        LockedError: another process is writing `out`.
    """
    check_outside(out, checkpoint.root)
    with new_directory(out) as partial:
        yield _fill(checkpoint, plan, out, partial)


@contextmanager
def stripped_checkpoints(
    plans: Sequence[tuple[Checkpoint, DeletionPlan]], out: Path
) -> Iterator[list[WrittenCheckpoint]]:
    """Do so with several checkpoints; each appears in `out` under its own name, all at once."""
    for checkpoint, _ in plans:
        check_outside(out, checkpoint.root)
    with new_directory(out) as partial:
        written = []
        for checkpoint, plan in plans:
            name = checkpoint.root.name
            (partial / name).mkdir()
            written.append(_fill(checkpoint, plan, out / name, partial / name))
        yield written


def _fill(
    checkpoint: Checkpoint, plan: DeletionPlan, out: Path, partial: Path
) -> WrittenCheckpoint:
    by_expert: dict[int | None, Excision] = {entry.expert: entry for entry in plan.excisions}
    records: list[FileRecord] = []
    rewritten: list[str] = []
    linked: list[str] = []
    num_values = 0
    for old in checkpoint.manifest.files:
        excision = by_expert.get(expert_of_file(old.path))
        if excision is None:
            link_or_copy(find_file(checkpoint.root, old), partial / old.path)
            records.append(old)
            linked.append(old.path)
        else:
            num_values += _rewrite(checkpoint, old.path, partial, excision)
            records.append(record_file(partial, old.path))
            rewritten.append(old.path)
    missing = {sink_weights_file(entry.expert) for entry in plan.excisions} - set(rewritten)
    if missing:
        raise IntegrityError(f"{checkpoint.root}: manifest lists no {', '.join(missing)}")
    manifest = replace(checkpoint.manifest, tombstones=plan.tombstones, files=tuple(records))
    write_json(partial / MANIFEST_FILE, manifest.to_dict())
    return WrittenCheckpoint(
        root=out,
        partial=partial,
        manifest=manifest,
        manifest_sha256=sha256_file(partial / MANIFEST_FILE),
        rewritten=tuple(rewritten),
        linked=tuple(linked),
        num_values_verified=num_values,
    )


def verify_excisions(checkpoint: Checkpoint) -> tuple[int, int]:
    """Read back every excised row that can be verified, in weights and optimizer state.

    Returns:
        Number of sources verified and number of values compared.

    Raises:
        IntegrityError: a row holds other values than recorded.
    """
    sources = verifiable_sources(checkpoint)
    zeroed = sinks_of(live_router(checkpoint), sources)
    seed = excision_seed(checkpoint.manifest.step)
    num_values = 0
    for excision in excisions_of(checkpoint, zeroed, seed):
        for file in checkpoint.files:
            if expert_of_file(file) == excision.expert:
                num_values += check_excised(checkpoint.tensors(file), excision)
    return len(sources), num_values


def _rewrite(checkpoint: Checkpoint, file: str, partial: Path, excision: Excision) -> int:
    """Excise a file into the output and verify it; return the number of values compared."""
    source = checkpoint.tensors(file)
    excise_file(source, partial / file, excision)
    target = TensorFile(partial / file)
    num_values = check_copy(source, target, excision)
    logger.info("%s: rewrote and verified %s", checkpoint.root.name, file)
    return num_values
