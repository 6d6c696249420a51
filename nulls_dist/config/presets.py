"""Named runs: one function each, a variant derives by `dataclasses.replace`."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from math import ceil
from typing import Final, Literal, get_args

from nulls_dist.config.schema import (
    ModelConfig,
    OptimConfig,
    ParallelConfig,
    RunConfig,
    SinksConfig,
    TrainConfig,
)
from nulls_dist.errors import ConfigError

Control = Literal["active", "total"]

_SMOLLM2_VOCAB: Final = 49_152


def nulls_tiny() -> RunConfig:
    """Seconds on a CPU: for tests."""
    return RunConfig(
        preset="nulls_tiny",
        model=ModelConfig(
            num_layers=2,
            hidden_size=64,
            num_heads=4,
            num_kv_heads=2,
            head_dim=16,
            num_backbone=64,
            num_experts=2,
            num_sinks=256,
            num_active=8,
            context_length=128,
        ),
        train=TrainConfig(
            steps=100,
            global_batch_rows=8,
            micro_batch_rows=2,
            save_every=50,
            eval_every=50,
            eval_rows=8,
            dtype="fp32",
        ),
        optim=OptimConfig(lr=3e-3),
        parallel=ParallelConfig(),
    )


def nulls_demo() -> RunConfig:
    """Minutes on two CPU cores: isolation is plain to see."""
    return RunConfig(
        preset="nulls_demo",
        model=ModelConfig(
            num_layers=3,
            hidden_size=96,
            num_heads=4,
            num_kv_heads=2,
            head_dim=24,
            num_backbone=128,
            num_experts=2,
            num_sinks=1024,
            num_active=16,
            context_length=256,
        ),
        train=TrainConfig(
            steps=900,
            global_batch_rows=4,
            micro_batch_rows=2,
            save_every=900,
            eval_every=300,
            eval_rows=8,
            dtype="fp32",
        ),
        optim=OptimConfig(lr=2e-3),
        parallel=ParallelConfig(),
    )


def nulls_125m() -> RunConfig:
    """One GPU."""
    return RunConfig(
        preset="nulls_125m",
        model=ModelConfig(
            num_layers=12,
            hidden_size=768,
            num_heads=12,
            num_kv_heads=4,
            head_dim=64,
            num_backbone=512,
            num_experts=4,
            num_sinks=3072,
            num_active=64,
            context_length=1024,
            vocab_size=_SMOLLM2_VOCAB,
        ),
        train=TrainConfig(
            steps=20_000,
            global_batch_rows=256,
            micro_batch_rows=16,
            save_every=1_000,
            eval_every=1_000,
            eval_rows=64,
        ),
        optim=OptimConfig(lr=6e-4, beta2=0.95),
        parallel=ParallelConfig(),
    )


def nulls_1b() -> RunConfig:
    """The size of the paper's model, one private pool per expert."""
    return RunConfig(
        preset="nulls_1b",
        model=ModelConfig(
            num_layers=32,
            hidden_size=960,
            num_heads=15,
            num_kv_heads=5,
            head_dim=128,
            num_backbone=512,
            num_experts=2,
            num_sinks=3840,
            num_active=96,
            context_length=1024,
            vocab_size=_SMOLLM2_VOCAB,
            tied_embeddings=False,
        ),
        train=TrainConfig(
            steps=60_000,
            global_batch_rows=512,
            micro_batch_rows=16,
            save_every=1_000,
            eval_every=1_000,
            eval_rows=64,
        ),
        optim=OptimConfig(lr=4e-4, beta2=0.95),
        parallel=ParallelConfig(),
    )


def nulls_1b_x8() -> RunConfig:
    """The same compute per token as nulls_1b, an eighth of the load per sink."""
    base = nulls_1b()
    model = replace(base.model, num_experts=8, num_sinks=7680)
    return replace(base, preset="nulls_1b_x8", model=model)


def nulls_1b_paper() -> RunConfig:
    """The released layout: one pool, Bernoulli mask, the same sinks in every layer.

    Its mask activates 59 to 140 sinks; `num_active` is the padded width. For imported weights, not
    for training.
    """
    base = nulls_1b()
    model = replace(
        base.model,
        num_backbone=500,
        num_experts=1,
        num_sinks=7692,
        num_active=144,
        per_layer=False,
        sink_dropout=0.0,
        rope_theta=100_000.0,
        router="reference_int32",
    )
    return replace(base, preset="nulls_1b_paper", model=model)


def nulls_7b() -> RunConfig:
    """Many nodes."""
    base = nulls_1b()
    model = replace(
        base.model,
        hidden_size=4096,
        num_heads=32,
        num_kv_heads=8,
        num_backbone=8192,
        num_experts=32,
        num_sinks=7680,
        num_active=240,
    )
    train = replace(base.train, global_batch_rows=1024, micro_batch_rows=4)
    return replace(
        base, preset="nulls_7b", model=model, train=train, optim=replace(base.optim, lr=3e-4)
    )


PRESETS: Final[dict[str, Callable[[], RunConfig]]] = {
    build.__name__: build
    for build in (
        nulls_tiny,
        nulls_demo,
        nulls_125m,
        nulls_1b,
        nulls_1b_x8,
        nulls_1b_paper,
        nulls_7b,
    )
}


def load_preset(name: str) -> RunConfig:
    """Return the preset of that name.

    Raises:
        ConfigError: there is none; the nearest names are given.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"--preset {name}: unknown; {hint}available: {', '.join(PRESETS)}")
    return PRESETS[name]()


CONTROLS: Final[tuple[Control, ...]] = get_args(Control)


def control_of(config: RunConfig, kind: Control) -> RunConfig:
    """Return the dense control of a run: an ordinary transformer, trained on the same batches.

    Everything but the MLPs stays the same, the experts included: they deal the data.

    Args:
        config: a run with sinks.
        kind: "active" makes the MLPs as wide as what serves one token (backbone and active sinks),
            "total" as wide as all of it (backbone and every expert's sinks). Where some layers have
            no sinks, what the others have is dealt to all, rounded up.
    """
    model = config.model
    per_layer = model.num_active if kind == "active" else model.num_experts * model.num_sinks
    num_sinks = ceil(per_layer * len(model.sink_layers) / model.num_layers)
    dense = replace(
        model,
        num_backbone=model.num_backbone + num_sinks,
        num_sinks=0,
        num_active=0,
        first_sink_layer=0,
        sink_dropout=0.0,
    )
    name = f"{config.preset}_{kind}_control"
    return replace(config, preset=name, model=dense, sinks=SinksConfig())
