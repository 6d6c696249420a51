"""Relearning on the models of a seed: which curves are taken, one by one.

Own sinks: the suppressed model answers before the first step, which gives the accuracy that all
others are compared with, so it is asked only. In the retrained model, the deleted sources' sinks
are excised, too. Backbone: suppressed and excised models have the same one. The two weaker ways to
wipe sinks, which are no deletion, are made from the suppressed weights in memory, for the deleted
documents alone. Dense models are left out: nothing was deleted from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from nulls_dist.attacks.relearning import (
    Access,
    RelearningCurve,
    RelearningOptions,
    relearn,
)
from nulls_dist.attacks.texts import Text, choose_sources
from nulls_dist.attacks.wiping import Wipe, WipeForm
from nulls_dist.benchmark.unlearning.attacked import unique_probes
from nulls_dist.benchmark.unlearning.efforts import Effort
from nulls_dist.benchmark.unlearning.lab import EXCISED, SUPPRESSED, TRAINED, Lab
from nulls_dist.benchmark.unlearning.sizes import NULLS, RETRAINED, Arm
from nulls_dist.benchmark.unlearning.world import read_groups
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE
from nulls_dist.errors import InputError
from nulls_dist.eval.facts import read_probes
from nulls_dist.eval.recitation import read_documents


@dataclass(frozen=True, kw_only=True, slots=True)
class Relearned:
    """A model that relearns, and from what."""

    model: str
    access: Access
    text: Text
    arm: Arm
    checkpoint: str
    form: WipeForm | None = None
    """How the deleted sources' sinks are wiped before the first step; None: as they are."""
    only_asked: bool = False

    @property
    def step(self) -> str:
        """Return the name of the step that takes the curve."""
        words = f"{self.access}-{self.text}-{self.model}"
        return f"relearning/{words.replace(' ', '-')}"


BEFORE: Final = "suppressed"
REFERENCE: Final = "retrained"


def _curves_of(text: Text) -> tuple[Relearned, ...]:
    own = partial(Relearned, access=Access.OWN_SINKS, text=text)
    backbone = partial(Relearned, access=Access.BACKBONE, text=text)
    retrained: dict[str, Any] = {"model": REFERENCE, "arm": RETRAINED, "checkpoint": TRAINED}
    excised: dict[str, Any] = {"model": "excised", "arm": NULLS, "checkpoint": EXCISED}
    weaker = [
        own(model=str(form), arm=NULLS, checkpoint=SUPPRESSED, form=form)
        for form in (WipeForm.ALL_ZERO, WipeForm.DOWN_ZERO)
    ]
    return (
        own(model=BEFORE, arm=NULLS, checkpoint=SUPPRESSED, only_asked=True),
        own(**excised),
        own(**retrained, form=WipeForm.EXCISED),
        *(weaker if text is Text.DELETED else ()),
        backbone(**excised),
        backbone(**retrained),
    )


CURVES: Final = tuple(_curves_of(text) for text in Text)
"""In parts that one process takes; every text has its own before and reference."""


def relearn_all(lab: Lab, seed: int, curves: Sequence[Relearned], effort: Effort) -> None:
    """Take curves, those that are done left out."""
    for curve in curves:
        lab.once(seed, curve.step, partial(_take, lab, seed, curve, effort))


def read_curve(record: Mapping[str, Any]) -> RelearningCurve | None:
    """Return the curve of a step's record, without what was wiped; None if there was no text."""
    content = record["curve"]
    if content is None:
        return None
    options = content["options"] | {"access": Access(content["options"]["access"]), "wipe": None}
    return RelearningCurve(
        options=RelearningOptions(**options),
        num_documents=content["num_documents"],
        num_probes=content["num_probes"],
        steps=tuple(content["steps"]),
        accuracy={kind: tuple(values) for kind, values in content["accuracy"].items()},
        loss_nats=tuple(content["loss_nats"]),
    )


def mean_curve(curves: Sequence[RelearningCurve]) -> RelearningCurve:
    """Return the curve of several seeds' probes together; its losses are left out.

    Args:
        curves: at least one, with the same steps.
    """
    first = curves[0]
    assert all(curve.steps == first.steps for curve in curves), "seeds were asked at equal steps"
    kinds = [kind for kind in first.accuracy if all(kind in curve.accuracy for curve in curves)]
    weights = {kind: [curve.num_probes[kind] for curve in curves] for kind in kinds}
    return RelearningCurve(
        options=first.options,
        num_documents=sum(curve.num_documents for curve in curves),
        num_probes={kind: sum(counts) for kind, counts in weights.items()},
        steps=first.steps,
        accuracy={
            kind: tuple(
                np.average([curve.accuracy[kind] for curve in curves], 0, weights[kind]).tolist()
            )
            for kind in kinds
        },
        loss_nats=(),
    )


def _take(lab: Lab, seed: int, curve: Relearned, effort: Effort) -> dict[str, Any]:
    """Take a curve; where no source has the text, that is recorded with the reason."""
    world, groups = Corpus(lab.world(seed)), read_groups(lab, seed)
    deleted = groups.deleted[: effort.sources]
    unasked = {*groups.unseen, *groups.deleted[effort.sources :]}
    known = {int(source_id) for source_id in np.unique(world.source_ids)} - unasked
    every_fact = read_probes(world.root / FACTS_FILE, known)
    try:
        sources = choose_sources(curve.text, every_fact, deleted, seed=seed)
    except InputError as error:
        return {"curve": None, "not_applicable": str(error)}
    root = lab.checkpoint(seed, curve.arm, curve.checkpoint)
    context = model_of(Checkpoint(root)).context_length
    wipe = None
    if curve.form is not None:
        wipe = Wipe(form=curve.form, source_ids=groups.deleted)
    found = relearn(
        root,
        read_documents(Corpus(lab.corpus(seed)), sources.trained, max_tokens=context),
        unique_probes(world, sources.asked),
        RelearningOptions(
            access=curve.access,
            steps=0 if curve.only_asked else effort.relearning_steps,
            ask_every=effort.ask_every,
            wipe=wipe,
        ),
    )
    return {
        "curve": found.to_dict(),
        "num_trained_sources": len(sources.trained),
        "num_asked_sources": len(sources.asked),
        "not_applicable": None,
    }
