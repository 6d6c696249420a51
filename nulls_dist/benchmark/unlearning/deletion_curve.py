"""Delete more and more sources from one model in memory, and ask after each deletion.

Excision draws the same values for a sink whoever else is deleted, so wiping the sinks of a larger
set in a loaded model gives the weights that the deletion command would write for it. The budget for
collateral, which would refuse most of these deletions, is what the curve is there to choose.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from nulls_dist.attacks.wiping import Wipe, WipeForm, wipe_sinks
from nulls_dist.benchmark.generated import draw_sources
from nulls_dist.benchmark.unlearning import tables
from nulls_dist.benchmark.unlearning.conditions import Condition
from nulls_dist.benchmark.unlearning.evaluation import Questions, read_questions
from nulls_dist.benchmark.unlearning.lab import EXCISED, Lab
from nulls_dist.benchmark.unlearning.pool import share_of_sinks
from nulls_dist.benchmark.unlearning.sizes import NULLS, Size
from nulls_dist.benchmark.unlearning.world import read_groups
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.eval.inference import InferenceModel, load_for_inference
from nulls_dist.routing.sink_sets import sinks_of

_COUNTS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 240, 500, 1000, 2000, 5000, 10_000)


def counts_of(size: Size) -> list[int]:
    """Return how many sources are deleted, ascending, the benchmark's own number among them.

    Kept sources that are asked about are never deleted.
    """
    most = size.articles - size.kept_asked
    return [count for count in sorted({*_COUNTS, size.deleted}) if count <= most]


def deletion_order(lab: Lab, seed: int) -> list[int]:
    """Return the sources that may be deleted: the first ones of it are a deletion of any size.

    The benchmark's deleted sources come first, in their order, then others as a hash draws them.
    """
    groups = read_groups(lab, seed)
    everyone = np.unique(Corpus(lab.corpus(seed)).source_ids)
    fixed = np.array([*groups.deleted, *groups.kept], dtype=np.uint64)
    return [*groups.deleted, *draw_sources(np.setdiff1d(everyone, fixed), seed=seed)]


def folder_of(count: int) -> str:
    """Return where the answers after so many deletions lie, relative to the benchmark."""
    return f"curves/deleted-{count}"


def step_of(count: int) -> str:
    """Return the name of the step that asks after so many deletions."""
    return f"curves/deleted-{count}"


def ask_curve(lab: Lab, seed: int) -> None:
    """Delete and ask, deletions that are done left out."""
    order = deletion_order(lab, seed)
    root = lab.checkpoint(seed, NULLS)
    with load_for_inference(root, route_deleted=True) as model:
        for count in counts_of(lab.size):
            deleted = order[:count]
            ask = partial(_delete_and_ask, lab, seed, model, Checkpoint(root), deleted)
            lab.once(seed, step_of(count), ask)


def _delete_and_ask(
    lab: Lab,
    seed: int,
    model: InferenceModel,
    checkpoint: Checkpoint,
    deleted: Sequence[int],
) -> dict[str, Any]:
    """Wipe, which nested sets allow without restoring anything, and write what is answered."""
    wipe_sinks(model, checkpoint, Wipe(form=WipeForm.EXCISED, source_ids=tuple(deleted)))
    questions = read_questions(lab, seed)
    never = questions.groups.deleted[: len(deleted)]
    of_deleted = _restrict(questions, never, deleted)
    asked = (
        (_restrict(questions, questions.groups.kept, deleted), Condition.ON),
        (of_deleted, Condition.ON),
        (of_deleted, Condition.NEAREST),
    )
    rows = [
        {
            "seed": seed,
            "arm": NULLS.name,
            "checkpoint": EXCISED,
            "state": str(condition),
            **row,
        }
        for chosen, condition in asked
        for row in chosen.ask(model, condition)
    ]
    path = lab.table(f"{folder_of(len(deleted))}/{tables.ANSWERS}", f"seed-{seed}")
    tables.write_table(path, tables.ANSWERS, rows)
    return _forecast(lab, seed, model, deleted)


def _restrict(questions: Questions, source_ids: Sequence[int], deleted: Sequence[int]) -> Questions:
    """Return the unique facts of some sources after a deletion.

    Sources that the retrained model never saw lend no sinks before they are deleted either, so that
    both models are served by the same ones.
    """
    gone = dict.fromkeys((*deleted, *questions.groups.deleted))
    return replace(
        questions,
        groups=replace(questions.groups, deleted=tuple(gone)),
        probes=[
            probe
            for probe in questions.probes
            if probe.kind == "unique" and probe.source_id in source_ids
        ],
    )


def _forecast(lab: Lab, seed: int, model: InferenceModel, deleted: Sequence[int]) -> dict[str, Any]:
    """Return what the deletion planner expects kept sources to lose."""
    gone = np.array(sorted(deleted), dtype=np.uint64)
    survivors = np.setdiff1d(np.unique(Corpus(lab.corpus(seed)).source_ids), gone)
    lost = share_of_sinks(model.router, survivors, gone)
    return {
        "num_deleted": len(gone),
        "num_kept": len(survivors),
        "pool_wiped": float(sinks_of(model.router, gone).mean()),
        "mean_lost_share": float(lost.mean()),
        "lost_share": dict(zip(map(str, survivors.tolist()), lost.tolist(), strict=True)),
    }
