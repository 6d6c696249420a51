"""What a run is made of. Each object checks itself; checks across objects are in `RunConfig`.

Every rule names the dotted field, the value and what to change.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import sqrt
from typing import Any, Final, Literal, get_args

from nulls_dist.errors import ConfigError

VOCAB_OF_CORPUS: Final = 0
LARGEST_EP: Final = 0
KERNEL_MULTIPLE: Final = 8
"""Grouped matrix products want row strides in multiples of 16 bytes: 8 values of bf16."""

DType = Literal["auto", "fp32", "bf16"]
Schedule = Literal["wsd", "cosine"]
WandbMode = Literal["off", "offline", "online"]
DispatcherName = Literal["local", "all_to_all"]
RouterKind = Literal["stratified", "reference_int32", "reference_int64"]


def _check(rule: bool, message: str) -> None:
    if not rule:
        raise ConfigError(message)


def _check_positive(config: object, prefix: str, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        _check(value >= 1, f"{prefix}.{name} ({value}) must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A Llama-like decoder whose MLPs have backbone neurons and a pool of sink neurons."""

    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    num_backbone: int
    """Neurons per MLP that serve every token."""
    num_experts: int
    """Blocks the sink pool is cut into; a source lives in one of them. Each gives equally many rows
    to every step, also in a model without sinks."""
    num_sinks: int
    """Sink neurons per expert and layer; 0 makes an ordinary transformer, without sinks."""
    num_active: int
    """Sink neurons per source and layer; 0 where num_sinks is."""
    context_length: int
    """Tokens per row."""
    first_sink_layer: int = 0
    """The first layer with sinks, from 0; the layers below it are backbone alone."""
    vocab_size: int = VOCAB_OF_CORPUS
    """Rows of the embedding; VOCAB_OF_CORPUS takes the tokenizer's."""
    per_layer: bool = True
    """Whether a source has other sinks in every layer that has sinks."""
    sink_dropout: float = 0.3
    """Probability that a document trains on the backbone alone at a step."""
    tied_embeddings: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    init_std: float = 0.02
    """Standard deviation of initial weights; projections into the residual stream get less."""
    router: RouterKind = "stratified"
    """The reference routers exist to load released weights, not to train."""

    def __post_init__(self) -> None:
        _check_positive(
            self,
            "model",
            (
                *("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim"),
                *("num_backbone", "num_experts"),
            ),
        )
        _check(self.head_dim % 2 == 0, f"model.head_dim ({self.head_dim}) must be even (rotary)")
        _check(
            self.num_heads % self.num_kv_heads == 0,
            f"model.num_kv_heads ({self.num_kv_heads}) must divide model.num_heads "
            f"({self.num_heads})",
        )
        for name in ("num_active", "hidden_size"):
            value = getattr(self, name)
            _check(
                value % KERNEL_MULTIPLE == 0,
                f"model.{name} ({value}) must be a multiple of {KERNEL_MULTIPLE}: grouped matrix "
                "products need 16-byte strides",
            )
        _check(
            self.router in get_args(RouterKind),
            f"model.router ({self.router!r}) must be one of {', '.join(get_args(RouterKind))}",
        )
        self._check_sinks()
        _check(
            self.context_length >= 2,
            f"model.context_length ({self.context_length}) must be at least 2",
        )
        _check(self.vocab_size >= 0, f"model.vocab_size ({self.vocab_size}) must not be negative")
        for name in ("rope_theta", "norm_eps", "init_std"):
            _check(getattr(self, name) > 0, f"model.{name} ({getattr(self, name)}) must be above 0")

    def _check_sinks(self) -> None:
        for name in ("num_sinks", "num_active", "first_sink_layer"):
            value = getattr(self, name)
            _check(value >= 0, f"model.{name} ({value}) must not be negative")
        _check(
            self.first_sink_layer < self.num_layers,
            f"model.first_sink_layer ({self.first_sink_layer}) must be below model.num_layers "
            f"({self.num_layers}): layers are counted from 0",
        )
        _check(
            (self.num_sinks > 0) == (self.num_active > 0),
            f"model.num_sinks ({self.num_sinks}) and model.num_active ({self.num_active}) must "
            "both be above 0, or both 0 for a model without sinks",
        )
        _check(
            0 <= self.sink_dropout < 1,
            f"model.sink_dropout ({self.sink_dropout}) must be in [0, 1)",
        )
        for name in ("sink_dropout", "first_sink_layer"):
            _check(
                self.has_sinks or getattr(self, name) == 0,
                f"model.{name} ({getattr(self, name)}) must be 0 in a model without sinks "
                "(model.num_sinks is 0)",
            )
        if self.has_sinks and self.router == "stratified":
            _check(
                self.num_sinks % self.num_active == 0,
                f"model.num_active ({self.num_active}) must divide model.num_sinks "
                f"({self.num_sinks}): one sink is drawn from each of num_active equal strata",
            )

    @property
    def has_sinks(self) -> bool:
        """Whether there is a sink pool; without one the model is an ordinary transformer."""
        return self.num_sinks > 0

    @property
    def sink_layers(self) -> range:
        """Layers that the router serves: those with a pool, if there are sinks."""
        return range(self.first_sink_layer, self.num_layers)

    @property
    def sink_experts(self) -> range:
        """Experts that hold sinks: all of them, or none in a model without sinks."""
        return range(self.num_experts if self.has_sinks else 0)

    @property
    def sink_init_std(self) -> float:
        """Standard deviation of initial gate and up rows of sinks (down rows use `init_std`)."""
        return 0.6 / sqrt(self.hidden_size)

    @property
    def residual_init_std(self) -> float:
        """Standard deviation of projections into the residual stream (GPT-2, section 2.3)."""
        return self.init_std / sqrt(2 * self.num_layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long, in what pieces, in what precision."""

    steps: int
    """Optimizer steps of the run."""
    global_batch_rows: int
    """Rows of context_length tokens per step, over all ranks; a multiple of num_experts, with
    parallel.dispatcher=all_to_all of the data-parallel size only."""
    micro_batch_rows: int
    """Rows per forward pass and rank."""
    save_every: int
    """Steps between checkpoints; one is always written at the last step."""
    keep_last: int = 0
    """Checkpoints kept, the newest ones; 0 keeps all."""
    keep_every: int = 0
    """Checkpoints whose step is a multiple of this are kept beside the newest; 0 turns it off."""
    async_save: bool = False
    """Whether training goes on while a checkpoint is written, from a copy in host memory."""
    eval_every: int
    """Steps between evaluations; 0 turns them off."""
    eval_rows: int
    """Rows per evaluation, over all ranks; a multiple as global_batch_rows is."""
    dtype: DType = "auto"
    """Of weights and activations; auto is bf16 on a GPU that has it and fp32 elsewhere. Gradients
    are summed, and the optimizer works, in fp32."""
    recompute: bool = False
    """Whether a layer's activations are computed again in the backward pass instead of kept."""
    max_bad_steps: int = 3
    """Steps in a row that may be skipped because their loss or gradient is not finite; one more
    ends the run. 0 ends it at the first."""

    def __post_init__(self) -> None:
        _check_positive(
            self,
            "train",
            ("steps", "global_batch_rows", "micro_batch_rows", "save_every", "eval_rows"),
        )
        for name in ("eval_every", "keep_last", "keep_every", "max_bad_steps"):
            value = getattr(self, name)
            _check(value >= 0, f"train.{name} ({value}) must not be negative")
        _check(
            self.keep_every % self.save_every == 0,
            f"train.keep_every ({self.keep_every}) must be a multiple of train.save_every "
            f"({self.save_every}): other steps are not saved",
        )
        _check(
            not self.keep_every or self.keep_last > 0,
            f"train.keep_every ({self.keep_every}) needs train.keep_last above 0: otherwise all "
            "checkpoints are kept",
        )
        _check(
            self.dtype in get_args(DType),
            f"train.dtype ({self.dtype!r}) must be one of {', '.join(get_args(DType))}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """AdamW and its schedule."""

    lr: float
    """Peak learning rate, the same for sinks and backbone."""
    schedule: Schedule = "wsd"
    """After a linear warm-up: wsd stays constant and decays linearly at the end, cosine falls as
    half a cosine."""
    warmup_fraction: float = 0.05
    """Share of the steps that warms up."""
    decay_fraction: float = 0.3
    """Share of the steps, at the end, that decays; wsd only."""
    min_lr_ratio: float = 0.02
    """Lowest learning rate of the decay over `lr`."""
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-8
    weight_decay: float = 0.1
    """Decay of backbone matrices; norms, embeddings and sinks have none."""
    grad_clip: float = 1.0
    """Largest global gradient norm; 0 turns clipping off."""

    def __post_init__(self) -> None:
        _check(self.lr > 0, f"optim.lr ({self.lr}) must be above 0")
        _check(
            self.schedule in get_args(Schedule),
            f"optim.schedule ({self.schedule!r}) must be one of {', '.join(get_args(Schedule))}",
        )
        _check(self.eps > 0, f"optim.eps ({self.eps}) must be above 0")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            _check(0 <= value < 1, f"optim.{name} ({value}) must be in [0, 1)")
        for name in ("warmup_fraction", "decay_fraction", "min_lr_ratio"):
            value = getattr(self, name)
            _check(0 <= value <= 1, f"optim.{name} ({value}) must be in [0, 1]")
        _check(
            self.warmup_fraction + self.decay_fraction <= 1,
            f"optim.warmup_fraction ({self.warmup_fraction}) and optim.decay_fraction "
            f"({self.decay_fraction}) must not add up to more than 1",
        )
        for name in ("weight_decay", "grad_clip"):
            value = getattr(self, name)
            _check(value >= 0, f"optim.{name} ({value}) must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParallelConfig:
    """Degrees of parallelism; what is left of the world is data parallel."""

    ep: int = LARGEST_EP
    """Ranks the sink experts are dealt over; LARGEST_EP takes the largest size that divides both
    the data-parallel size and the number of experts."""
    tp: int = 1
    """Ranks that share the heads, backbone neurons and vocabulary of every row; sinks and norms are
    held by each of them."""
    pp: int = 1
    """Pipeline parallelism: out of scope, refused."""
    cp: int = 1
    """Context parallelism: out of scope, refused."""
    sequence_parallel: bool = False
    """Sequence parallelism of norms under tp: out of scope, refused."""
    dispatcher: DispatcherName = "local"
    """How tokens meet their sinks. local places documents: each is trained on the rank of its
    source's expert. all_to_all deals rows to ranks whatever their sources are and sends the tokens
    to their sinks in every layer that has some."""

    def __post_init__(self) -> None:
        _check(
            self.dispatcher in get_args(DispatcherName),
            f"parallel.dispatcher ({self.dispatcher!r}) must be one of "
            f"{', '.join(get_args(DispatcherName))}",
        )
        _check(self.ep >= 0, f"parallel.ep ({self.ep}) must not be negative")
        _check_positive(self, "parallel", ("tp",))
        for name, reason in (
            ("pp", "the pool grows with expert parallelism instead"),
            ("cp", "rows are short enough for one rank"),
        ):
            value = getattr(self, name)
            _check(value == 1, f"parallel.{name} ({value}) must be 1: out of scope, {reason}")
        _check(
            not self.sequence_parallel,
            f"parallel.sequence_parallel ({self.sequence_parallel}) must be false: out of scope, "
            "DeepSpeed would not sum the gradients of the norms over tensor-parallel ranks",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """Where metrics go besides metrics.jsonl."""

    wandb: WandbMode = "off"
    """Weights & Biases: off, offline (files in the run directory) or online."""
    wandb_project: str = "nulls-dist"
    tensorboard: bool = False
    """Whether TensorBoard's files are written, in RUN/log/tensorboard."""
    exposure: bool = False
    """Whether every rank logs which tokens of which documents it trained on, in RUN/log."""

    def __post_init__(self) -> None:
        _check(
            self.wandb in get_args(WandbMode),
            f"report.wandb ({self.wandb!r}) must be one of {', '.join(get_args(WandbMode))}",
        )
        _check(self.wandb_project != "", "report.wandb_project must not be empty")


@dataclass(frozen=True, kw_only=True, slots=True)
class SinksConfig:
    """Who gets which sinks; how many there are is the model's."""

    private_sources: str = ""
    """File that lists sources as sources.txt does, each of which owns num_active sinks of its
    expert alone, in every layer that has sinks; empty for none. Fixed when a run is created."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A whole run, before it meets a corpus and a world size."""

    preset: str
    model: ModelConfig
    train: TrainConfig
    optim: OptimConfig
    parallel: ParallelConfig
    sinks: SinksConfig = SinksConfig()
    report: ReportConfig = ReportConfig()
    seed: int = 0
    """Seed of initial values, data order and sink dropout; never of the router."""

    def __post_init__(self) -> None:
        _check(
            self.model.has_sinks or not self.sinks.private_sources,
            f"sinks.private_sources ({self.sinks.private_sources}) must be empty in a model "
            "without sinks (model.num_sinks is 0)",
        )
        placed = self.parallel.dispatcher == "local"
        for name in ("global_batch_rows", "eval_rows"):
            value = getattr(self.train, name)
            _check(
                not placed or value % self.model.num_experts == 0,
                f"train.{name} ({value}) must be a multiple of model.num_experts "
                f"({self.model.num_experts}): every expert gives equally many rows unless "
                "parallel.dispatcher=all_to_all",
            )
        for name in ("num_heads", "num_kv_heads", "num_backbone"):
            value = getattr(self.model, name)
            _check(
                value % self.parallel.tp == 0,
                f"parallel.tp ({self.parallel.tp}) must divide model.{name} ({value})",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready values."""
        return asdict(self)


def model_from_dict(content: Mapping[str, Any]) -> ModelConfig:
    """Build a model configuration from a checkpoint's manifest.

    Raises:
        ConfigError: unknown or missing fields, or a rule broken.
    """
    names = {entry.name for entry in fields(ModelConfig)}
    unknown = sorted(set(content) - names)
    _check(not unknown, f"model configuration has unknown fields {unknown}")
    try:
        return ModelConfig(**content)
    except TypeError as error:
        raise ConfigError(f"model configuration: {error}") from error
