"""Loss on a fixed sample of rows with sinks on, off and swapped for an unrelated source's."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from nulls_dist import hashing
from nulls_dist.data.batches import Microbatch
from nulls_dist.errors import InputError
from nulls_dist.hashing import U64Array
from nulls_dist.model.gpt import loss_sum
from nulls_dist.train.hooks import Hook, StepEvent
from nulls_dist.train.inputs import route, to_device
from nulls_dist.train.run import Run
from nulls_dist.train.step import sum_over_ranks

STATES: Final = ("on", "off", "placebo")
_EVAL_SEED_OFFSET: Final = 1_000_003


class StateEvaluator(Hook):
    """Evaluates the same rows of the training corpus every time it is called.

    The rows are documents the model trains on: the distance between "on" and "off" tells how much
    of them lives in the sinks, not how well the model generalises. A model without sinks is always
    "off".
    """

    def __init__(self, run: Run) -> None:
        """Choose `train.eval_rows` rows and keep this rank's share of them."""
        self._run = run
        self._states = STATES if run.config.model.has_sinks else ("off",)
        self._donors = _sources_by_expert(run)
        batches = run.batches(
            seed=run.config.seed + _EVAL_SEED_OFFSET, rows_per_step=run.config.train.eval_rows
        )
        rows = run.rank_rows(batches, 0)
        size = run.config.train.micro_batch_rows
        self._microbatches = [
            batches.assemble(rows[begin : begin + size]) for begin in range(0, len(rows), size)
        ]

    def after_step(self, event: StepEvent) -> None:
        """Add the losses to the metrics every `train.eval_every` steps and after the last."""
        if event.step % self._run.config.train.eval_every == 0 or event.is_last:
            event.metrics.update(self.evaluate(event.engine))

    @torch.no_grad()
    def evaluate(self, engine: Any) -> dict[str, float]:
        """Return "eval/loss_STATE_nats" for every state, equal on all ranks."""
        engine.eval()
        metrics = {}
        for state in self._states:
            total, count = 0.0, 0
            for batch in self._microbatches:
                routed = route(
                    self._run,
                    self._placebo(batch) if state == "placebo" else batch,
                    engine.device,
                    dropped=np.full(batch.layout.num_segments, state == "off"),
                )
                inputs = to_device(self._run, routed, engine.device)
                loss = loss_sum(
                    engine.module, inputs.tokens, inputs.targets, inputs.has_target, inputs.rows
                )
                total += float(loss)
                count += batch.num_targets
            total, targets = sum_over_ranks([total, count], engine.device)
            metrics[f"eval/loss_{state}_nats"] = total / targets
        engine.train()
        return metrics

    def _placebo(self, batch: Microbatch) -> Microbatch:
        """Return the batch with every segment served by an unrelated source of its expert."""
        source_ids = batch.layout.source_ids
        keys = hashing.key(source_ids, seed=self._run.config.seed, domain=hashing.Domain.PLACEBO)
        donors = source_ids.copy()
        for index, expert in enumerate(self._run.router.experts_of(source_ids)):
            candidates = self._donors[int(expert)]
            if len(candidates) < 2:
                raise InputError(
                    f"sink expert {expert} has one source only, so there is none to lend its "
                    "sinks in the state placebo; set train.eval_every=0 or use a larger corpus"
                )
            choice = int(hashing.below(keys[index : index + 1], len(candidates))[0])
            donor = candidates[choice]
            if donor == source_ids[index]:
                donor = candidates[(choice + 1) % len(candidates)]
            donors[index] = donor
        return replace(batch, layout=replace(batch.layout, source_ids=donors))


def _sources_by_expert(run: Run) -> dict[int, U64Array]:
    source_ids: U64Array = np.unique(run.corpus.source_ids)
    experts: npt.NDArray[np.int64] = run.router.experts_of(source_ids)
    local = run.groups.topology.local_experts
    served = local if run.is_placed else range(run.config.model.num_experts)
    return {expert: source_ids[experts == expert] for expert in served}
