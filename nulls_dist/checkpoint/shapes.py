"""Which tensors a model has, and of what shape."""

from dataclasses import dataclass

from nulls_dist.checkpoint.format import MANIFEST_FILE, SINK_PARTS, WEIGHTS_DIR, sink_tensor
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.schema import ModelConfig, model_from_dict
from nulls_dist.errors import ConfigError, InputError, IntegrityError

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterPart:
    """A parameter, or one expert's part of a sink parameter."""

    name: str
    expert: int | None = None


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
    router = checkpoint.manifest.router
    if len(model.sink_layers) != router.num_layers:
        raise IntegrityError(
            f"{place}: num_layers is {len(model.sink_layers)} with sinks ({model.num_layers} from "
            f"first_sink_layer {model.first_sink_layer} on) in model but {router.num_layers} in "
            "router"
        )
    for name in ("num_experts", "num_sinks", "num_active", "per_layer"):
        wanted, routed = getattr(model, name), getattr(router, name)
        if wanted != routed:
            raise IntegrityError(f"{place}: {name} is {wanted} in model but {routed} in router")
    if model.router != router.kind:
        raise IntegrityError(f"{place}: router is {model.router} in model but {router.kind}")
    files = [file for file in checkpoint.files if file.startswith(f"{WEIGHTS_DIR}/")]
    num_bytes = sum(checkpoint.record(file).num_bytes for file in files)
    if model.num_layers * model.hidden_size > num_bytes:  # before anything is made of its layers
        raise IntegrityError(
            f"{place}: num_layers ({model.num_layers}) of hidden_size ({model.hidden_size}) cannot "
            f"be in weights of {num_bytes} bytes"
        )
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
        for layer in model.sink_layers
        for part in SINK_PARTS
    }


def part_shapes(model: ModelConfig) -> dict[ParameterPart, tuple[int, ...]]:
    """Return the shapes of all parameter parts of a model, every expert included."""
    dense = {ParameterPart(name=name): shape for name, shape in backbone_shapes(model).items()}
    sinks = {
        ParameterPart(name=name, expert=expert): shape
        for expert in model.sink_experts
        for name, shape in sink_shapes(model).items()
    }
    return dense | sinks
