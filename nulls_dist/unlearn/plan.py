"""What a deletion would do, decided and weighed before anything is written."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from nulls_dist.checkpoint.format import SOURCES_FILE, Grade, Tombstone
from nulls_dist.checkpoint.shapes import check_has_sinks, model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import RefusedError
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import Router
from nulls_dist.routing.sink_sets import SinkMask, sinks_of
from nulls_dist.unlearn.collateral import Collateral, measure_collateral
from nulls_dist.unlearn.excise import Excision, excision_seed


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


def plan_deletion(
    checkpoint: Checkpoint,
    table: SourceTable,
    source_ids: Collection[int],
    grade: Grade,
    *,
    exact: bool = False,
) -> DeletionPlan:
    """Decide a deletion and measure its collateral.

    Args:
        checkpoint: to delete from.
        table: its sources.
        source_ids: sources to delete.
        grade: EXCISED or SUPPRESSED; a source never returns to a lower grade.
        exact: measure the collateral of every survivor, not of a sample of very many.

    Raises:
        InputError: the model has no sinks.
    """
    check_has_sinks(checkpoint)
    before = {entry.source_id: entry for entry in checkpoint.manifest.tombstones}
    done = (Grade.EXCISED,) if grade is Grade.EXCISED else tuple(Grade)
    already = sorted(
        number for number in source_ids if number in before and before[number].grade in done
    )
    deleted = sorted(set(source_ids) - set(already))
    seed = excision_seed(checkpoint.manifest.step) if grade is Grade.EXCISED else 0
    after = dict(before)
    for number in deleted:
        entry = before.get(number, Tombstone(source_id=number, grade=grade))
        after[number] = replace(entry, grade=grade, seed=seed)
    router = live_router(checkpoint)
    doomed = np.array(deleted, dtype=np.uint64)
    zeroed = sinks_of(router, doomed if grade is Grade.EXCISED else doomed[:0])
    tombstoned = np.array(sorted(after), dtype=np.uint64)
    return DeletionPlan(
        grade=grade,
        deleted=tuple(deleted),
        already=tuple(already),
        tombstones=tuple(after[number] for number in sorted(after)),
        excisions=excisions_of(checkpoint, zeroed, seed),
        collateral=measure_collateral(
            router,
            survivors=table.source_ids[~np.isin(table.source_ids, tombstoned)],
            deleted=doomed,
            zeroed=zeroed,
            gone=sinks_of(router, verifiable_sources(checkpoint)),
            exact=exact,
        ),
    )


def check_budget(plan: DeletionPlan, max_collateral: float) -> None:
    """Refuse a deletion that costs the surviving sources too much.

    Args:
        plan: what was decided.
        max_collateral: largest mean share of a survivor's sinks, in [0, 1].

    Raises:
        RefusedError: the mean collateral is above the limit, or no source would be left.
    """
    if plan.deleted and not plan.collateral.num_survivors and max_collateral < 1:
        raise RefusedError(
            "the deletion would leave no source. Nothing was written. For a model without any "
            "sinks release the backbone (convert_to_hf.py --form backbone); to delete all the "
            "same, give --max-collateral 1"
        )
    mean = plan.collateral.mean
    if mean > max_collateral:
        raise RefusedError(
            f"the excision (sources: {len(plan.deleted)}) would zero {mean:.2%} of the sinks of "
            f"the average surviving source; the limit is {max_collateral:.2%} (--max-collateral). "
            "Nothing was written. Ways out: --mode suppress, which costs survivors nothing and "
            "leaves the weights in place; fewer sources at once; or, when the next model is "
            "trained, a larger sink pool, or private blocks (sinks.private_sources) for the "
            "sources that may have to go, whose excision costs no other source anything"
        )


def open_sources(checkpoint: Checkpoint) -> SourceTable:
    """Open the source table of a checkpoint, verified.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    return SourceTable(checkpoint.path(SOURCES_FILE))


def live_router(checkpoint: Checkpoint) -> Router:
    """Return the checkpoint's router without its tombstones, to look up deleted sources too.

    Raises:
        IntegrityError: the router does not fit the model.
    """
    model_of(checkpoint)
    return checkpoint.manifest.build_live_router()


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


def excisions_of(checkpoint: Checkpoint, zeroed: SinkMask, seed: int) -> tuple[Excision, ...]:
    """Split a set of sinks by expert."""
    model = model_of(checkpoint)
    return tuple(
        Excision(
            expert=int(expert),
            seed=seed,
            rows=tuple(np.flatnonzero(layer) for layer in zeroed[:, expert]),
            model=model,
        )
        for expert in np.flatnonzero(zeroed.any(axis=(0, 2)))
    )
