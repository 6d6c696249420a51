"""What a run would need, before it starts: the answer to --dry-run."""

from dataclasses import asdict, replace
from typing import Any

from nulls_dist.config.schema import VOCAB_OF_CORPUS, RunConfig
from nulls_dist.model.counts import count_model, count_rank_memory
from nulls_dist.parallel.topology import Topology


def forecast_run(
    config: RunConfig, topology: Topology, *, corpus_vocab_size: int
) -> dict[str, Any]:
    """Return configuration, topology, sizes and memory of a run.

    Args:
        config: the run's configuration.
        topology: as resolved for the world size.
        corpus_vocab_size: taken where the configuration leaves the vocabulary to the corpus.
    """
    model = config.model
    if model.vocab_size == VOCAB_OF_CORPUS:
        model = replace(model, vocab_size=corpus_vocab_size)
    counts = count_model(model)
    tokens_per_step = config.train.global_batch_rows * model.context_length
    tokens = tokens_per_step * config.train.steps
    return {
        "config": replace(config, model=model).to_dict(),
        "topology": topology.to_dict(),
        "model": asdict(counts),
        "data": {
            "tokens_per_step": tokens_per_step,
            "tokens": tokens,
            "microbatches_per_step_and_rank": config.train.global_batch_rows
            // (topology.dp * config.train.micro_batch_rows),
        },
        "compute": {"flops": counts.flops_per_token * tokens},
        "memory_per_rank_bytes": count_rank_memory(counts, topology, config.train.dtype).to_dict(),
    }


def format_forecast(forecast: dict[str, Any]) -> str:
    """Return a forecast for a person."""
    model, data = forecast["model"], forecast["data"]
    memory = forecast["memory_per_rank_bytes"]
    degrees = ", ".join(f"{name} {size}" for name, size in forecast["topology"].items())
    parts = ", ".join(f"{name} {memory[name] / 1e9:.2f}" for name in memory if name != "total")
    lines = [
        ("preset", forecast["config"]["preset"]),
        ("topology", degrees),
        ("parameters", f"{model['parameters']:,} ({model['sink_parameters']:,} in sinks)"),
        ("active per token", f"{model['active_parameters']:,}"),
        ("FLOPs per token", f"{model['flops_per_token']:,} (forward and backward)"),
        ("tokens", f"{data['tokens']:,} ({data['tokens_per_step']:,} per step)"),
        ("dtype", forecast["config"]["train"]["dtype"]),
        ("FLOPs of the run", f"{forecast['compute']['flops']:.3g}"),
        ("state per rank", f"{memory['total'] / 1e9:.2f} GB ({parts}); activations on top"),
    ]
    return "\n".join(f"{name:<18}{text}" for name, text in lines)
