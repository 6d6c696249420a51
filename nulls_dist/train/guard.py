"""Steps that went wrong: which documents they had, and when a run must end because of them.

A step whose loss or gradient is not finite was not applied (see `train_step`); a step whose loss
stands out was. Both leave a record, so that somebody can look at the data.
"""

import logging
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

import torch.distributed as dist

from nulls_dist.data.batches import Microbatch
from nulls_dist.errors import NullsError
from nulls_dist.train.metrics import json_line
from nulls_dist.train.run import Run
from nulls_dist.train.run_files import BAD_STEPS_FILE, LOG_DIR
from nulls_dist.train.step import StepResult

logger = logging.getLogger(__name__)

SPIKE_WINDOW: Final = 100
"""Losses that the next one is compared with."""
SPIKE_MIN_LOSSES: Final = 20
"""With fewer there are no spikes."""
SPIKE_DEVIATIONS: Final = 8
"""Median absolute deviations above the median; of normal noise, 5.4 standard deviations."""


def is_spike(loss: float, before: Sequence[float]) -> bool:
    """Say whether a loss stands out among those of the steps before it.

    It does if it is above median + SPIKE_DEVIATIONS * MAD, where MAD is the median absolute
    deviation from the median (Hampel 1974, Journal of the American Statistical Association 69).

    Args:
        loss: in nats.
        before: finite losses of the latest steps, in nats.
    """
    if len(before) < SPIKE_MIN_LOSSES:
        return False
    middle = median(before)
    deviation = median([abs(value - middle) for value in before])
    return loss > middle + SPIKE_DEVIATIONS * deviation


class StepGuard:
    """Records bad steps and spikes, and ends a run that has too many bad steps in a row.

    The window of losses and the count of bad steps start anew when a run is resumed. The log is
    only ever appended to: a step that a resumed run takes again may appear twice.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._bad_in_a_row = 0
        self._losses: deque[float] = deque(maxlen=SPIKE_WINDOW)

    def check(self, result: StepResult, batches: Sequence[Microbatch], step: int) -> None:
        """Look at a step; every rank calls this, and all decide alike.

        Args:
            result: equal on all ranks.
            batches: what this rank trained on.
            step: steps taken so far, this one included.

        Raises:
            NullsError: more than `train.max_bad_steps` bad steps in a row.
        """
        if result.is_applied:
            self._bad_in_a_row = 0
            if is_spike(result.loss_nats, self._losses):
                self._record("spike", result, batches, step)
            self._losses.append(result.loss_nats)
            return
        self._bad_in_a_row += 1
        self._record("not_finite", result, batches, step)
        if self._bad_in_a_row > self._run.config.train.max_bad_steps:
            raise NullsError(
                f"step {step}: {_describe(result)}: not finite, {self._bad_in_a_row} in a row "
                f"(train.max_bad_steps is {self._run.config.train.max_bad_steps}). The weights of "
                "the last checkpoint are from before; lower optim.lr, raise optim.warmup_fraction, "
                f"or look at the documents in {LOG_DIR}/{BAD_STEPS_FILE}"
            )

    def _record(
        self, kind: str, result: StepResult, batches: Sequence[Microbatch], step: int
    ) -> None:
        """Append what all ranks had to the log of rank 0."""
        topology = self._run.groups.topology
        here = {"rank": topology.rank, "documents": _documents(batches)}
        ranks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(ranks, here)
        if topology.rank:
            return
        what = "the loss stands out" if kind == "spike" else "skipped, not finite"
        event = {"event": "bad_step"}
        logger.warning("step %d: %s: %s", step, _describe(result), what, extra=event)
        path = self._run.run_dir / LOG_DIR / BAD_STEPS_FILE
        path.parent.mkdir(exist_ok=True)
        content = {
            "kind": kind,
            "step": step,
            "loss_nats": result.loss_nats,
            "grad_norm": result.grad_norm,
            "grad_norm_backbone": result.grad_norm_backbone,
            "grad_norm_sinks": result.grad_norm_sinks,
            "ranks": ranks,
        }
        with path.open("a", encoding="utf-8") as file:
            file.write(json_line(content))


def _describe(result: StepResult) -> str:
    return f"loss {result.loss_nats}, gradient norm {result.grad_norm}"


def _documents(batches: Sequence[Microbatch]) -> list[tuple[int, int]]:
    """Return source id and document index of every document, each once, sorted."""
    return sorted(
        {
            (source_id, doc_index)
            for batch in batches
            for source_id, doc_index in zip(
                batch.layout.source_ids.tolist(), batch.layout.doc_indices.tolist(), strict=True
            )
        }
    )
