"""Everything a checkpoint holds, in a form in which two checkpoints can be compared."""

from pathlib import Path

from torch import Tensor

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import OPTIMIZER_KINDS, sink_weights_file
from nulls_dist.checkpoint.fragments import OptimizerFragments
from nulls_dist.checkpoint.shapes import model_of, part_shapes
from nulls_dist.checkpoint.store import Checkpoint

WEIGHT = "weight"


def read_state(root: Path) -> dict[str, Tensor]:
    """Return weights, master weights and moments, whatever topology wrote them.

    Returns:
        "weight/NAME/EXPERT", "master/NAME/EXPERT", ... -> flat tensor, one entry per expert of a
        sink parameter; EXPERT is None for a dense one.

    Raises:
        IntegrityError: the checkpoint is damaged.
    """
    checkpoint = Checkpoint(root)
    fragments = OptimizerFragments(checkpoint)
    backbone = BackboneWeights(checkpoint)
    state = {}
    for part in part_shapes(model_of(checkpoint)):
        file = (
            backbone if part.expert is None else checkpoint.tensors(sink_weights_file(part.expert))
        )
        weight = file.read(part.name).flatten()
        state[f"{WEIGHT}/{part.name}/{part.expert}"] = weight
        for kind in OPTIMIZER_KINDS:
            state[f"{kind}/{part.name}/{part.expert}"] = fragments.read(part, kind, 0, len(weight))
    return state
