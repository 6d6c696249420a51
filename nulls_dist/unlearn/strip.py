"""Delete sources from a checkpoint: decide, weigh, write, verify.

The input is never touched. The output is a whole checkpoint: files of the experts concerned are
rewritten, all others are hard-linked.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nulls_dist.checkpoint.format import (
    MANIFEST_FILE,
    SOURCES_FILE,
    Grade,
    Tombstone,
    expert_of_file,
    sink_weights_file,
)
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.config.schema import ModelConfig, model_from_dict
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import (
    FileRecord,
    find_file,
    link_or_copy,
    new_directory,
    record_file,
    write_json,
)
from nulls_dist.errors import ConfigError, IntegrityError, RefusedError
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import Router
from nulls_dist.unlearn.collateral import Collateral, SinkMask, measure_collateral, sinks_of
from nulls_dist.unlearn.excise import (
    Excision,
    check_excised,
    check_kept,
    excise_file,
    excision_seed,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionPlan:
    """What a deletion would do, decided before anything is written."""

    grade: Grade
    deleted: tuple[int, ...]
    """Sources whose state changes, ascending ids."""
    already: tuple[int, ...]
    """Requested sources that were deleted before at this grade or a higher one."""
    tombstones: tuple[Tombstone, ...]
    """All of the output, ascending by id."""
    excisions: tuple[Excision, ...]
    """One per expert concerned; none for a suppression."""
    collateral: Collateral


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenCheckpoint:
    """What was written and verified."""

    rewritten: tuple[str, ...]
    linked: tuple[str, ...]
    num_values_verified: int
    """Elements in excised rows that were read back and compared."""


def plan_deletion(
    checkpoint: Checkpoint, table: SourceTable, source_ids: Collection[int], grade: Grade
) -> DeletionPlan:
    """Decide a deletion and measure its collateral.

    Args:
        checkpoint: to delete from.
        table: its sources.
        source_ids: sources to delete.
        grade: EXCISED or SUPPRESSED; a source never returns to a lower grade.
    """
    before = {entry.source_id: entry for entry in checkpoint.manifest.tombstones}
    done = (Grade.EXCISED,) if grade is Grade.EXCISED else tuple(Grade)
    already = sorted(
        number for number in source_ids if number in before and before[number].grade in done
    )
    deleted = sorted(set(source_ids) - set(already))
    seed = excision_seed(checkpoint.manifest.step) if grade is Grade.EXCISED else 0
    after = before | {
        number: Tombstone(source_id=number, grade=grade, seed=seed) for number in deleted
    }
    router = live_router(checkpoint)
    doomed = np.array(deleted, dtype=np.uint64)
    zeroed = sinks_of(router, doomed if grade is Grade.EXCISED else doomed[:0])
    tombstoned = np.array(sorted(after), dtype=np.uint64)
    return DeletionPlan(
        grade=grade,
        deleted=tuple(deleted),
        already=tuple(already),
        tombstones=tuple(after[number] for number in sorted(after)),
        excisions=excisions_of(zeroed, seed, model_of(checkpoint)),
        collateral=measure_collateral(
            router,
            survivors=table.source_ids[~np.isin(table.source_ids, tombstoned)],
            deleted=doomed,
            zeroed=zeroed,
            gone=sinks_of(router, verifiable_sources(checkpoint)),
        ),
    )


def check_budget(plan: DeletionPlan, max_collateral: float) -> None:
    """Refuse a deletion that costs the surviving sources too much.

    Raises:
        ConfigError: the limit is not a share.
        RefusedError: the mean collateral is above the limit.
    """
    if not 0 <= max_collateral <= 1:
        raise ConfigError(f"--max-collateral ({max_collateral}) must be between 0 and 1")
    mean = plan.collateral.mean
    if mean > max_collateral:
        raise RefusedError(
            f"excising {len(plan.deleted)} sources would zero {mean:.2%} of the sinks of the "
            f"average surviving source; the limit is {max_collateral:.2%} (--max-collateral). "
            "Nothing was written. Ways out: --mode suppress, which costs survivors nothing and "
            "leaves the weights in place; fewer sources at once; or, when the next model is "
            "trained, a larger sink pool"
        )


def write_stripped(checkpoint: Checkpoint, plan: DeletionPlan, out: Path) -> WrittenCheckpoint:
    """Write the checkpoint without the deleted sources, verified, whole or not at all.

    Raises:
        InputError: `out` exists.
        IntegrityError: a file of the input is damaged, or the output does not verify.
        LockedError: another process is writing `out`.
    """
    by_expert = {excision.expert: excision for excision in plan.excisions}
    records: list[FileRecord] = []
    rewritten: list[str] = []
    num_values = 0
    with new_directory(out) as partial:
        for old in checkpoint.manifest.files:
            excision = by_expert.get(_expert(old.path))
            if excision is None:
                link_or_copy(find_file(checkpoint.root, old), partial / old.path)
                records.append(old)
                continue
            source = checkpoint.tensors(old.path)
            excise_file(source, partial / old.path, excision)
            target = TensorFile(partial / old.path)
            num_values += check_excised(target, excision)
            check_kept(source, target, excision)
            records.append(record_file(partial, old.path))
            rewritten.append(old.path)
            logger.info("rewrote and verified %s", old.path)
        missing = {sink_weights_file(expert) for expert in by_expert} - set(rewritten)
        if missing:
            raise IntegrityError(f"{checkpoint.root}: manifest lists no {', '.join(missing)}")
        manifest = replace(
            checkpoint.manifest, tombstones=plan.tombstones, files=tuple(records)
        )
        write_json(partial / MANIFEST_FILE, manifest.to_dict())
    linked = [record.path for record in records if record.path not in set(rewritten)]
    return WrittenCheckpoint(
        rewritten=tuple(rewritten), linked=tuple(linked), num_values_verified=num_values
    )


def open_sources(checkpoint: Checkpoint) -> SourceTable:
    """Open the source table of a checkpoint, verified.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    return SourceTable(checkpoint.path(SOURCES_FILE))


def model_of(checkpoint: Checkpoint) -> ModelConfig:
    """Return the model configuration of a checkpoint.

    Raises:
        IntegrityError: it breaks a rule.
    """
    try:
        return model_from_dict(checkpoint.manifest.model)
    except ConfigError as error:
        raise IntegrityError(f"{checkpoint.root / MANIFEST_FILE}: {error}") from error


def live_router(checkpoint: Checkpoint) -> Router:
    """Return the checkpoint's router without its tombstones, to look up deleted sources too."""
    return Router(checkpoint.manifest.router, checkpoint.manifest.bucket_table)


def verifiable_sources(checkpoint: Checkpoint) -> U64Array:
    """Return the sources excised since the last training step, whose rows must hold known values.

    Training that went on after an excision may have changed sinks that survivors share.
    """
    seed = excision_seed(checkpoint.manifest.step)
    excised = [
        entry.source_id
        for entry in checkpoint.manifest.tombstones
        if entry.grade is Grade.EXCISED and entry.seed == seed
    ]
    return np.array(excised, dtype=np.uint64)


def excisions_of(zeroed: SinkMask, seed: int, model: ModelConfig) -> tuple[Excision, ...]:
    """Split a set of sinks by expert."""
    return tuple(
        Excision(
            expert=int(expert),
            seed=seed,
            rows=tuple(np.flatnonzero(layer) for layer in zeroed[:, expert]),
            model=model,
        )
        for expert in np.flatnonzero(zeroed.any(axis=(0, 2)))
    )


def verify_excisions(checkpoint: Checkpoint) -> tuple[int, int]:
    """Read back every excised row that can be verified, in weights and optimizer state.

    Returns:
        Number of sources verified and number of elements compared.

    Raises:
        IntegrityError: a row holds other values than recorded.
    """
    sources = verifiable_sources(checkpoint)
    zeroed = sinks_of(live_router(checkpoint), sources)
    seed = excision_seed(checkpoint.manifest.step)
    by_expert = {
        excision.expert: excision for excision in excisions_of(zeroed, seed, model_of(checkpoint))
    }
    num_values = sum(
        check_excised(checkpoint.tensors(file), by_expert[expert])
        for file in checkpoint.files
        if (expert := _expert(file)) in by_expert
    )
    return len(sources), num_values


def _expert(path: str) -> int:
    """Return the sink expert of a file; -1 for files of none."""
    expert = expert_of_file(path)
    return -1 if expert is None else expert
