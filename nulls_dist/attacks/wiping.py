"""Wipe sources' sinks in a loaded model, in ways that can be told apart by an attack alone.

A deletion is `unlearn.excise` and nothing else. The weaker forms exist here to show why: they give
the same answers, but leave what the sinks listened for, or sinks that never learn again.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from nulls_dist.checkpoint.format import SINK_PARTS, sink_tensor, sink_weights_file
from nulls_dist.checkpoint.shapes import check_has_sinks
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.eval.inference import InferenceModel
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.unlearn.excise import excised_weights, excision_seed


class WipeForm(StrEnum):
    """What becomes of the rows of wiped sinks."""

    EXCISED = "excised"
    """As a deletion leaves them: down rows zero, gate and up rows fresh initial values."""
    ALL_ZERO = "all rows zero"
    """Down, gate and up rows zero: their gradients are zero, too, for whoever uses the sinks."""
    DOWN_ZERO = "down rows zero"
    """Gate and up rows stay: silent, but still listening for the source's text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wipe:
    """Sources whose sinks are wiped, and how."""

    form: WipeForm
    source_ids: tuple[int, ...]
    """At least one; the model need not have seen them."""


@torch.no_grad()
def wipe_sinks(model: InferenceModel, checkpoint: Checkpoint, wipe: Wipe) -> None:
    """Wipe all sinks of some sources in memory.

    Args:
        model: loaded with `route_deleted`; weights change in place.
        checkpoint: what it was loaded from. Fresh values are those that a deletion from it writes.
        wipe: whose sinks, and how.

    Raises:
        InputError: the model has no sinks.
    """
    check_has_sinks(checkpoint)
    wiped = sinks_of(model.router, np.array(sorted(wipe.source_ids), dtype=np.uint64))
    weights = model.weights()
    for layer, sinks in enumerate(wiped.reshape(len(wiped), -1)):
        rows = torch.from_numpy(np.flatnonzero(sinks))
        for part in SINK_PARTS:
            if wipe.form is WipeForm.DOWN_ZERO and part != "down":
                continue
            target = weights[sink_tensor(model.config.sink_layers[layer], part)]
            target[rows.to(target.device)] = _wiped(model, checkpoint, wipe, layer, part, rows).to(
                target
            )


def _wiped(
    model: InferenceModel, checkpoint: Checkpoint, wipe: Wipe, layer: int, part: str, rows: Tensor
) -> Tensor:
    if wipe.form is not WipeForm.EXCISED:
        return torch.zeros(len(rows), model.config.hidden_size)
    stored = checkpoint.tensors(sink_weights_file(model.config.sink_experts[0]))
    return excised_weights(
        model.config,
        layer=layer,
        part=part,
        rows=rows,
        seed=excision_seed(checkpoint.manifest.step),
        dtype=stored.dtype(sink_tensor(model.config.sink_layers[layer], part)),
    )
