"""Which tensors a checkpoint must have, and of what shape."""

import math

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import (
    MANIFEST_FILE,
    SINK_PARTS,
    WEIGHTS_DIR,
    is_backbone_weights,
    sink_tensor,
    sink_weights_file,
)
from nulls_dist.checkpoint.fragments import OptimizerFragments, ParameterPart
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.config.schema import ModelConfig, model_from_dict
from nulls_dist.errors import ConfigError, InputError, IntegrityError

Shapes = dict[str, tuple[int, ...]]


def model_of(checkpoint: Checkpoint) -> ModelConfig:
    """Return the model configuration of a checkpoint.

    Raises:
        IntegrityError: it breaks a rule or does not fit the router.
    """
    place = checkpoint.root / MANIFEST_FILE
    try:
        model = model_from_dict(checkpoint.manifest.model)
    except ConfigError as error:
        raise IntegrityError(f"{place}: {error}") from error
    for name in ("num_layers", "num_experts", "num_sinks", "num_active", "per_layer"):
        wanted, routed = getattr(model, name), getattr(checkpoint.manifest.router, name)
        if wanted != routed:
            raise IntegrityError(f"{place}: {name} is {wanted} in model but {routed} in router")
    return model


def check_has_sinks(checkpoint: Checkpoint) -> None:
    """Refuse a model in which nothing belongs to one source.

    Raises:
        InputError: it has no sinks.
        IntegrityError: its configuration is damaged.
    """
    if not model_of(checkpoint).has_sinks:
        raise InputError(
            f"{checkpoint.root}: the model has no sinks (model.num_sinks is 0), so nothing in it "
            "belongs to one source and can be deleted, listed or merged; to remove a source, "
            "retrain the model without it"
        )


def backbone_shapes(model: ModelConfig) -> Shapes:
    """Return the shapes of the dense parameters by Megatron's names."""
    width, neurons = model.hidden_size, model.num_backbone
    vocabulary = (model.vocab_size, width)
    queries = model.num_heads * model.head_dim
    shapes: Shapes = {"embedding.word_embeddings.weight": vocabulary}
    for layer in range(model.num_layers):
        prefix = f"decoder.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": (width,),
            prefix + "self_attention.linear_qkv.weight": (
                queries + 2 * model.num_kv_heads * model.head_dim,
                width,
            ),
            prefix + "self_attention.linear_proj.weight": (width, queries),
            prefix + "pre_mlp_layernorm.weight": (width,),
            prefix + "mlp.backbone.linear_fc1.weight": (2 * neurons, width),
            prefix + "mlp.backbone.linear_fc2.weight": (width, neurons),
        }
    shapes["decoder.final_layernorm.weight"] = (width,)
    if not model.tied_embeddings:
        shapes["output_layer.weight"] = vocabulary
    return shapes


def sink_shapes(model: ModelConfig) -> Shapes:
    """Return the shapes of one expert's sink parameters."""
    return {
        sink_tensor(layer, part): (model.num_sinks, model.hidden_size)
        for layer in range(model.num_layers)
        for part in SINK_PARTS
    }


def check_tensors(checkpoint: Checkpoint) -> int:
    """Prove that the checkpoint has all tensors of its model, in weights and optimizer state.

    Returns:
        Number of parameters: elements of all weights.

    Raises:
        IntegrityError: a tensor is missing, left over or of another shape, or the optimizer's
            fragments do not tile a parameter.
    """
    model = model_of(checkpoint)
    sizes: dict[ParameterPart, int] = {}
    for name, shape in _check_shapes(BackboneWeights(checkpoint), backbone_shapes(model)).items():
        sizes[ParameterPart(name=name)] = math.prod(shape)
    sink_files = [sink_weights_file(expert) for expert in model.sink_experts]
    for expert, file in enumerate(sink_files):
        for name, shape in _check_shapes(checkpoint.tensors(file), sink_shapes(model)).items():
            sizes[ParameterPart(name=name, expert=expert)] = math.prod(shape)
    weights = {file for file in checkpoint.files if file.startswith(f"{WEIGHTS_DIR}/")}
    if extra := {file for file in weights - set(sink_files) if not is_backbone_weights(file)}:
        raise IntegrityError(f"{checkpoint.root}: weights of no part of the model: {sorted(extra)}")
    OptimizerFragments(checkpoint).check(sizes)
    return sum(sizes.values())


def _check_shapes(tensors: TensorFile | BackboneWeights, shapes: Shapes) -> Shapes:
    """Return the shapes after comparing the tensors with them."""
    if different := set(tensors.names()) ^ set(shapes):
        raise IntegrityError(f"{tensors.path}: tensors missing or left over: {sorted(different)}")
    for name, shape in shapes.items():
        if tensors.shape(name) != shape:
            raise IntegrityError(
                f"{tensors.path}: {name} has shape {tensors.shape(name)}, the model needs {shape}"
            )
    return shapes
