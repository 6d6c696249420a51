"""Memory of one rank in closed form, without building anything.

What is counted, in bytes; a is the size of an activation (bf16 2, fp32 4), T tokens and S segments
per microbatch, the other letters as in `counts`, G backbone neurons, A active sinks, t ranks of
tensor parallelism. Per layer, kept from the forward to the backward pass:

| term | bytes | what it is |
|---|---|---|
| norms | 2 T (D a + 4); on a CPU 2 T (8 D + 4) | input and scale; a CPU keeps two float32 copies |
| projections | 2 T D a | inputs of the attention and the MLP, shared by backbone and sinks |
| rotary | 4 T h a in bf16 | cosine and sine, cast once for queries and once for keys |
| attention | T (3 H + 3 K) h a / t + 4 T H / t | projected, rotated and attended states, scale |
| joining | T H h a / t on a CPU | documents are attended one by one and joined |
| backbone | 5 T G a / t | gate with up, SiLU, up, product |
| sinks | 4 T A a + 3 S A D a | gate, up, SiLU, product; the gathered neurons |

Once: the final norm, the rotary angles, and of the loss the gradients that it makes ahead of time:
T D a of its input and 4 V D of the output layer's weight; under tensor parallelism T D a, its
input. With recomputation only every layer's input, T D a, is kept, and one layer at a time as
above. The float32 logits exist for one chunk of tokens at a time, twice while their softmax is
made; a vocabulary that is cut over ranks has them whole, 4 T V / t, until the backward pass.

Sinks, their gradients and their states are replicated over tensor parallelism.
"""

from dataclasses import asdict, dataclass
from typing import Final

from nulls_dist.config.deepspeed import ZeroSettings
from nulls_dist.config.schema import DType, ModelConfig, RunConfig
from nulls_dist.model.counts import count_model, tokens_per_chunk
from nulls_dist.parallel.topology import Topology

_BYTES: Final[dict[DType, int]] = {"fp32": 4, "bf16": 2}
_FP32: Final = 4
_OPTIMIZER_BYTES: Final = 3 * _FP32
"""Master weight and two moments."""
_LARGEST_GROUP: Final = 178_956_971
"""Elements after which DeepSpeed 0.19.8 starts another group of sinks (deepspeed.moe.utils)."""
_REDUCED_AT_ONCE: Final = 500_000_000
"""Elements that DeepSpeed's bf16 optimizer joins before it communicates (runtime.engine)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankMemory:
    """Bytes that one rank holds."""

    weights: int
    gradients: int
    """Of all microbatches so far, as they are summed."""
    optimizer: int
    """On the device: nothing where the optimizer is offloaded."""
    buffers: int
    """During a backward pass: reduction buckets, gradients of the logits and of the residual
    stream, and gradients that are not yet summed: of one matrix, or of a ZeRO-2 partition."""
    activations: int
    """Kept for one backward pass, the logits apart."""
    logits: int
    """At one time."""
    step: int
    """Largest temporary tensors of a step after its last backward pass: gradients joined to be
    communicated, or the flat copy of a parameter group's gradient and Adam's terms for it."""
    host: int
    """Offloaded optimizer state and gradients, in the host's memory."""

    @property
    def total(self) -> int:
        """Return what is held whatever the batch: weights, gradients and optimizer."""
        return self.weights + self.gradients + self.optimizer

    @property
    def peak(self) -> int:
        """Return an upper bound of what is held at any time, the allocator's gaps left out."""
        return self.total + max(self.buffers + self.activations + self.logits, self.step)

    def to_dict(self) -> dict[str, int]:
        """Return the parts, what is always held and the peak."""
        return {**asdict(self), "total": self.total, "peak": self.peak}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """Parameters of one rank."""

    dense: int
    sinks: int
    owned: int
    """Whose optimizer state is this rank's."""
    sink_matrix: int
    largest_group: int
    """Owned parameters that one call of the optimizer updates."""

    @property
    def all(self) -> int:
        return self.dense + self.sinks


def count_rank_memory(
    config: RunConfig,
    topology: Topology,
    zero: ZeroSettings,
    *,
    num_segments: int,
    on_gpu: bool,
    recompute: bool = False,
) -> RankMemory:
    """Count the memory of one rank.

    Every rank holds its shard of the dense parameters and the sinks of its own experts. The
    optimizer state, and in ZeRO-2 the gradients, are cut in equal parts: of the dense parameters
    over all data-parallel ranks, of the sinks over their replicas.

    Args:
        config: vocabulary and dtype are resolved.
        topology: of the run.
        zero: of the DeepSpeed file.
        num_segments: documents and parts of documents in one microbatch.
        on_gpu: whether norms and attention are one kernel each, as on a GPU.
        recompute: whether layers are recomputed in the backward pass.
    """
    dtype, model = config.train.dtype, config.model
    tp = topology.tp
    held = _count_held(model, topology, tp)
    activations, logits = count_activations(
        model,
        dtype=dtype,
        num_tokens=config.train.micro_batch_rows * model.context_length,
        num_segments=num_segments,
        on_gpu=on_gpu,
        recompute=recompute,
        tp=tp,
    )
    accumulates = config.train.global_batch_rows > topology.dp * config.train.micro_batch_rows
    offloads = zero.offloads_optimizer
    host = held.owned * (_OPTIMIZER_BYTES + _FP32 + _BYTES[dtype])
    return RankMemory(
        weights=held.all * _BYTES[dtype],
        gradients=_gradient_bytes(held, zero.stage, dtype),
        optimizer=0 if offloads else held.owned * _OPTIMIZER_BYTES,
        buffers=_bucket_bytes(zero, dtype)
        + _working_bytes(held, config, dtype, logits=logits, tp=tp)
        + (held.owned * _FP32 if dtype == "fp32" and zero.stage > 1 and accumulates else 0),
        activations=activations,
        logits=logits,
        step=0 if offloads else _step_bytes(held, zero, dtype),
        host=host if offloads else 0,
    )


def _count_held(model: ModelConfig, topology: Topology, tp: int) -> _Held:
    counts = count_model(model)
    norms = (2 * model.num_layers + 1) * model.hidden_size
    dense = norms + -(-(counts.backbone_parameters - norms) // tp)
    sinks = counts.sink_parameters // topology.ep
    matrix = sinks // (3 * len(model.sink_layers))
    dense_owned, sinks_owned = -(-dense // topology.dp), -(-sinks // topology.edp)
    sink_group = min(sinks, max(matrix, _LARGEST_GROUP)) // topology.edp
    return _Held(
        dense=dense,
        sinks=sinks,
        owned=dense_owned + sinks_owned,
        sink_matrix=matrix,
        largest_group=max(dense_owned, sink_group),
    )


def _gradient_bytes(held: _Held, stage: int, dtype: DType) -> int:
    if stage > 1:
        return held.owned * _FP32
    return held.all * (_FP32 if dtype == "fp32" else _FP32 + _BYTES[dtype])


def _bucket_bytes(zero: ZeroSettings, dtype: DType) -> int:
    if dtype == "bf16" and zero.stage == 1:
        return 0  # DeepSpeed's bf16 optimizer has none
    sent = 0 if dtype == "fp32" else zero.bucket_elements * _FP32  # cast to be communicated
    return zero.num_buckets * zero.bucket_elements * _BYTES[dtype] + sent


def _working_bytes(held: _Held, config: RunConfig, dtype: DType, *, logits: int, tp: int) -> int:
    """Count what a backward pass works on: two residual streams, the logits, one matrix."""
    model = config.model
    stream = config.train.micro_batch_rows * model.context_length * model.hidden_size
    matrix = max(held.sink_matrix, model.vocab_size * model.hidden_size // tp)
    cast = 0 if dtype == "fp32" else logits * _BYTES[dtype] // _FP32
    return 2 * stream * _BYTES[dtype] + cast + matrix * _FP32


def _step_bytes(held: _Held, zero: ZeroSettings, dtype: DType) -> int:
    adam = 2 * _FP32 * held.largest_group
    if dtype == "fp32":
        update = adam + _FP32 * held.largest_group
        partition = _FP32 * (held.owned + zero.num_buckets * zero.bucket_elements)
        return max(update, partition) if zero.stage == 1 else update
    joined = min(max(held.dense, held.sinks), _REDUCED_AT_ONCE + _LARGEST_GROUP)
    return max(adam, _FP32 * joined) if zero.stage == 1 else adam


def count_activations(
    model: ModelConfig,
    *,
    dtype: DType,
    num_tokens: int,
    num_segments: int,
    on_gpu: bool,
    recompute: bool = False,
    tp: int = 1,
) -> tuple[int, int]:
    """Count what one microbatch keeps for its backward pass: see the table above.

    Recomputation is an upper bound: the logits are gone when the last layer is recomputed.

    Args:
        model: vocabulary resolved.
        dtype: of activations.
        num_tokens: T.
        num_segments: S.
        on_gpu: whether norms and attention are one kernel each.
        recompute: whether layers are recomputed in the backward pass.
        tp: ranks that share heads, backbone neurons and the vocabulary.

    Returns:
        Bytes of activations and of logits.
    """
    size, width, tokens = _BYTES[dtype], model.hidden_size, num_tokens
    hidden = tokens * width * size
    norm = tokens * _FP32 + (hidden if on_gpu else 2 * tokens * width * _FP32)
    heads = (3 if on_gpu else 4) * model.num_heads + 3 * model.num_kv_heads
    attention = tokens * (heads * model.head_dim * size + model.num_heads * _FP32) // tp
    rotary = 0 if dtype == "fp32" else 4 * tokens * model.head_dim * size
    backbone = 5 * tokens * model.num_backbone * size // tp
    gathered = 3 * num_segments * model.num_active * width * size
    sinks = 4 * tokens * model.num_active * size + gathered
    layer = 2 * norm + 2 * hidden + rotary + attention + backbone
    if recompute:
        layers = model.num_layers * hidden + layer + sinks
    else:
        layers = model.num_layers * layer + len(model.sink_layers) * sinks
    angles = 2 * tokens * model.head_dim * _FP32
    if tp == 1:
        output_gradient = model.vocab_size * width * _FP32
        logits = 2 * min(tokens, tokens_per_chunk(model.vocab_size)) * model.vocab_size * _FP32
    else:
        output_gradient = 0
        logits = tokens * model.vocab_size * _FP32 // tp
    return layers + norm + hidden + angles + output_gradient, logits
