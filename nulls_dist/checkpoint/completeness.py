"""Does a checkpoint hold every tensor of its model, in weights and optimizer state?"""

import math
from typing import Final

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import WEIGHTS_DIR, is_backbone_weights, sink_weights_file
from nulls_dist.checkpoint.fragments import OptimizerFragments
from nulls_dist.checkpoint.shapes import (
    Shapes,
    backbone_shapes,
    model_of,
    part_shapes,
    sink_shapes,
)
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.errors import IntegrityError

_MAX_LISTED: Final = 9


def check_tensors(checkpoint: Checkpoint) -> int:
    """Prove that the checkpoint has all tensors of its model, in weights and optimizer state.

    Returns:
        Number of parameters: elements of all weights.

    Raises:
        IntegrityError: a tensor is missing, left over or of another shape, or the optimizer's
            fragments do not tile a parameter.
    """
    model = model_of(checkpoint)
    _check_shapes(BackboneWeights(checkpoint), backbone_shapes(model))
    sink_files = [sink_weights_file(expert) for expert in model.sink_experts]
    for file in sink_files:
        _check_shapes(checkpoint.tensors(file), sink_shapes(model))
    weights = {file for file in checkpoint.files if file.startswith(f"{WEIGHTS_DIR}/")}
    if extra := {file for file in weights - set(sink_files) if not is_backbone_weights(file)}:
        raise IntegrityError(f"{checkpoint.root}: weights of no part of the model: {sorted(extra)}")
    OptimizerFragments(checkpoint).check()
    return sum(math.prod(shape) for shape in part_shapes(model).values())


def _check_shapes(tensors: TensorFile | BackboneWeights, shapes: Shapes) -> None:
    if different := set(tensors.names()) ^ set(shapes):
        listed = sorted(different)[:_MAX_LISTED]
        raise IntegrityError(
            f"{tensors.path}: {len(different)} tensors missing or left over: {', '.join(listed)}"
            f"{', ...' * (len(different) > _MAX_LISTED)}"
        )
    for name, shape in shapes.items():
        if tensors.shape(name) != shape:
            raise IntegrityError(
                f"{tensors.path}: {name} has shape {tensors.shape(name)}, the model needs {shape}"
            )
