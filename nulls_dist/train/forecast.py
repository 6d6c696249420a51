"""What a run would need, before it starts: the answer to --dry-run."""

from dataclasses import asdict, replace
from typing import Any, Final

from nulls_dist.config.deepspeed import ZERO_STAGES, ZeroSettings
from nulls_dist.config.schema import VOCAB_OF_CORPUS, RunConfig
from nulls_dist.errors import RefusedError
from nulls_dist.model.counts import count_model
from nulls_dist.model.memory import count_rank_memory
from nulls_dist.model.throughput import (
    BANDWIDTH_EFFICIENCY,
    COMPUTE_EFFICIENCY,
    expect_tokens_per_s,
)
from nulls_dist.parallel.gpus import Gpu
from nulls_dist.parallel.topology import Topology
from nulls_dist.unlearn.private_list import PrivateDemand, format_private

_WEIGHT_BYTES: Final = {"fp32": 4, "bf16": 2}
_STATE_BYTES: Final = 3 * 4
"""Master weight and two moments, float32, in a checkpoint."""


def forecast_run(
    config: RunConfig,
    topology: Topology,
    *,
    corpus_vocab_size: int,
    zero: ZeroSettings,
    on_gpu: bool,
    tokens_per_document: float | None = None,
    gpu: Gpu | None = None,
    private: PrivateDemand | None = None,
) -> dict[str, Any]:
    """Return configuration, topology, sizes, memory and expected speed of a run.

    Args:
        config: the run's configuration, its dtype resolved.
        topology: as resolved for the world size.
        corpus_vocab_size: taken where the configuration leaves the vocabulary to the corpus.
        zero: of the DeepSpeed file.
        on_gpu: whether the run would be on GPUs.
        tokens_per_document: mean of the corpus; a document fills a row where it is not known.
        gpu: what every rank would have, if named.
        private: what private sources take from the pool, if there are any.
    """
    model = config.model
    if model.vocab_size == VOCAB_OF_CORPUS:
        model = replace(model, vocab_size=corpus_vocab_size)
    config = replace(config, model=model)
    counts = count_model(model)
    train = config.train
    tokens_per_step = train.global_batch_rows * model.context_length
    tokens = tokens_per_step * train.steps
    tokens_per_document = tokens_per_document or model.context_length
    # A row ends inside a document, which so has a part in two of them.
    segments = train.micro_batch_rows * (1 + model.context_length / tokens_per_document)

    def memory_of(settings: ZeroSettings, *, recompute: bool) -> dict[str, int]:
        return count_rank_memory(
            config,
            topology,
            settings,
            num_segments=round(segments),
            on_gpu=on_gpu,
            recompute=recompute,
        ).to_dict()

    return {
        "config": config.to_dict(),
        "topology": topology.to_dict(),
        "model": asdict(counts),
        "private_sources": asdict(private) if private else None,
        "data": {
            "tokens_per_step": tokens_per_step,
            "tokens": tokens,
            "microbatches_per_step_and_rank": train.global_batch_rows
            // (topology.dp * train.micro_batch_rows),
            "segments_per_microbatch": round(segments),
        },
        "compute": {"flops": counts.flops_per_token * tokens},
        "zero": asdict(zero),
        "memory_per_rank_bytes": memory_of(zero, recompute=config.train.recompute),
        "memory_variants": [
            {"zero_stage": stage, "recompute": recompute}
            | memory_of(_with_stage(zero, stage), recompute=recompute)
            for stage in ZERO_STAGES
            for recompute in (False, True)
        ],
        "checkpoint_bytes": {
            "weights": counts.parameters * _WEIGHT_BYTES[train.dtype],
            "full": counts.parameters * (_WEIGHT_BYTES[train.dtype] + _STATE_BYTES),
        },
        "gpu": asdict(gpu) if gpu else None,
        "expected": _expected(config, topology, zero, gpu),
    }


def _with_stage(zero: ZeroSettings, stage: int) -> ZeroSettings:
    """Return the settings at another stage; only ZeRO-2 offloads."""
    offloads = zero.offloads_optimizer and stage > 1
    return replace(zero, stage=stage, offloads_optimizer=offloads)


def _expected(
    config: RunConfig, topology: Topology, zero: ZeroSettings, gpu: Gpu | None
) -> dict[str, Any] | None:
    """Return the expected speed, where a GPU is named whose rates decide it."""
    if gpu is None or config.train.dtype != "bf16" or zero.offloads_optimizer:
        return None
    rate = expect_tokens_per_s(config, topology, gpu, recompute=config.train.recompute)
    tokens = config.train.steps * config.train.global_batch_rows * config.model.context_length
    return {
        "note": "a model, not a measurement: no communication, no waiting for data",
        "compute_efficiency": COMPUTE_EFFICIENCY,
        "bandwidth_efficiency": BANDWIDTH_EFFICIENCY,
        "tokens_per_s": rate,
        "seconds": tokens / rate,
    }


def check_fits(forecast: dict[str, Any]) -> None:
    """Refuse a run whose ranks need more memory than the named GPU has, if one was named.

    Raises:
        RefusedError: they do; what would help is named.
    """
    peak, gpu = forecast["memory_per_rank_bytes"]["peak"], forecast["gpu"]
    if gpu is None or peak <= gpu["memory_bytes"]:
        return
    fitting = [
        f"ZeRO-{variant['zero_stage']}{' with recomputation' if variant['recompute'] else ''}"
        for variant in forecast["memory_variants"]
        if variant["peak"] <= gpu["memory_bytes"]
    ]
    train, degrees = forecast["config"]["train"], forecast["topology"]
    remedies = [f"lower train.micro_batch_rows ({train['micro_batch_rows']})"]
    if degrees["tp"] > 1:
        remedies.append(f"lower parallel.tp ({degrees['tp']}), which sinks do not share")
    world_size = degrees["dp"] * degrees["tp"]
    raise RefusedError(
        f"--gpu: a rank needs {peak / 1e9:.1f} GB, above the "
        f"{gpu['memory_bytes'] / 1e9:.1f} GB of {gpu['name']}; fits: "
        f"{', '.join(fitting) or 'no variant'}. Otherwise {', '.join(remedies)}, or raise "
        f"parallel.ep ({degrees['ep']}) and the world size ({world_size})"
    )


def format_forecast(forecast: dict[str, Any]) -> str:
    """Return a forecast for a person."""
    model, data = forecast["model"], forecast["data"]
    degrees = ", ".join(f"{name} {size}" for name, size in forecast["topology"].items())
    sizes = forecast["checkpoint_bytes"]
    lines = [
        ("preset", forecast["config"]["preset"]),
        ("topology", degrees),
        ("parameters", f"{model['parameters']:,} ({model['sink_parameters']:,} in sinks)"),
        *_private_lines(forecast),
        ("active per token", f"{model['active_parameters']:,}"),
        ("FLOPs per token", f"{model['flops_per_token']:,} (forward and backward)"),
        ("tokens", f"{data['tokens']:,} ({data['tokens_per_step']:,} per step)"),
        ("dtype", forecast["config"]["train"]["dtype"]),
        ("FLOPs of the run", f"{forecast['compute']['flops']:.3g}"),
        *_memory_lines(forecast),
        ("checkpoint", f"{_size(sizes['full'])}, its weights {_size(sizes['weights'])}"),
    ]
    expected = forecast["expected"]
    if expected:
        speed = f"{expected['tokens_per_s']:,.0f} tokens/s, {expected['seconds'] / 3600:,.1f} h"
        assumed = f"{expected['compute_efficiency']:.0%} of the bf16 peak, no communication"
        name = forecast["gpu"]["name"]
        lines += [
            ("expected speed", f"{speed} on {name}, one per rank"),
            ("", f"a model, not a measurement: {assumed}"),
        ]
    return "\n".join(f"{name:<18}{text}" for name, text in lines)


def _private_lines(forecast: dict[str, Any]) -> list[tuple[str, str]]:
    if forecast["private_sources"] is None:
        return []
    demand = PrivateDemand(**forecast["private_sources"])
    return [("private sources", format_private(demand, forecast["config"]["model"]["num_sinks"]))]


def _memory_lines(forecast: dict[str, Any]) -> list[tuple[str, str]]:
    memory = forecast["memory_per_rank_bytes"]
    rows = forecast["config"]["train"]["micro_batch_rows"]

    def parts(*names: str) -> str:
        return ", ".join(f"{name} {_size(memory[name])}" for name in names)

    variants = ", ".join(
        f"ZeRO-{variant['zero_stage']}{' recomputed' if variant['recompute'] else ''} "
        f"{_size(variant['peak'])}"
        for variant in forecast["memory_variants"]
    )
    state = parts("weights", "gradients", "optimizer")
    lines = [
        ("state per rank", f"{_size(memory['total'])} ({state})"),
        ("microbatch", f"{parts('activations', 'logits')} for {rows} rows"),
        ("temporary", f"{parts('buffers')} in a backward pass, {_size(memory['step'])} in a step"),
        ("peak per rank", f"at most {_size(memory['peak'])}"),
        ("", variants),
    ]
    if memory["host"]:
        lines.append(("host per rank", f"{_size(memory['host'])} of offloaded optimizer state"))
    return lines


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.2f} MB"
