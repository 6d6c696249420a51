"""Output layer and loss: by chunks of tokens against whole logits, and torch's own chunks.

T tokens, D model dim, V vocabulary.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from nulls_dist.benchmark.one_process import one_process
from nulls_dist.config.presets import load_preset
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.accelerator import (
    Accelerator,
    peak_memory,
    reset_peak_memory,
    select_accelerator,
    synchronize,
)
from nulls_dist.parallel.topology import Topology

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Hidden states, weight and targets -> sum of the losses."""

_WHOLE: Final = "whole logits (Megatron)"
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
_TOLERANCE: Final = {torch.float32: 1e-4, torch.bfloat16: 2e-2}


def bench_head(preset: str, *, num_tokens: int, rounds: int) -> dict[str, Any]:
    """Time forward and backward of each way, in turns, on a CPU with one thread.

    Args:
        preset: gives D and V.
        num_tokens: T.
        rounds: timed rounds; medians are reported.

    Returns:
        "variants": milliseconds, peak memory and the relative difference of the gradients from
        those of whole logits.

    Raises:
        ConfigError: the preset's vocabulary is the corpus's.
    """
    model = load_preset(preset).model
    if not model.vocab_size:
        raise ConfigError(f"--preset {preset}: its vocabulary is the corpus's; choose a larger one")
    accelerator = select_accelerator(0)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(1)
    with one_process(Topology(dp=1, ep=1, rank=0, num_experts=1), accelerator):
        variants = _variants(model.vocab_size)
        tensors = _tensors(accelerator, num_tokens, model.hidden_size, model.vocab_size)
        reference = _gradients(variants[_WHOLE], tensors)
        figures: dict[str, list[tuple[float, float, int]]] = {name: [] for name in variants}
        differences = {}
        for name, loss in variants.items():
            differences[name] = _difference(_gradients(loss, tensors), reference)
            assert differences[name] < _TOLERANCE[tensors[0].dtype], f"{name}: {differences[name]}"
        for _ in tqdm(range(rounds), desc="rounds", disable=None):
            for name, loss in variants.items():
                figures[name].append(_measure(loss, tensors, accelerator.device))
    return {
        "preset": preset,
        "tokens": num_tokens,
        "vocabulary": model.vocab_size,
        "dtype": accelerator.dtype,
        "variants": {
            name: {
                "milliseconds": 1e3 * statistics.median(wall for wall, _, _ in rows),
                "cpu_milliseconds": 1e3 * statistics.median(cpu for _, cpu, _ in rows),
                "peak_mib": statistics.median(peak for _, _, peak in rows) / 2**20,
                "gradient_difference": differences[name],
            }
            for name, rows in figures.items()
        },
    }


def _variants(vocab_size: int) -> dict[str, Loss]:
    from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

    from nulls_dist.model.chunked_loss import chunked_cross_entropy
    from nulls_dist.model.counts import tokens_per_chunk

    chunk_tokens = tokens_per_chunk(vocab_size)

    def chunked(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        everywhere = torch.ones(len(targets), device=targets.device)
        return chunked_cross_entropy(hidden, weight, targets, everywhere, chunk_tokens=chunk_tokens)

    def whole(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        losses: Tensor = vocab_parallel_cross_entropy((hidden @ weight.T).float(), targets)
        return losses.sum()

    def torchs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        return functional.linear_cross_entropy(
            hidden,
            weight,
            targets,
            reduction="sum",
            options=torch.nn.LinearCrossEntropyOptions(),
        )

    return {"chunks (production)": chunked, _WHOLE: whole, "torch linear_cross_entropy": torchs}


def _tensors(
    accelerator: Accelerator, num_tokens: int, width: int, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (T, D) hidden states, (V, D) weight and (T,) targets."""
    draws = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, width, generator=draws)
    weight = torch.randn(vocab_size, width, generator=draws) * 0.02
    targets = torch.randint(vocab_size, (num_tokens,), generator=draws)
    hidden, weight = (
        tensor.to(accelerator.device, _DTYPES[accelerator.dtype]).requires_grad_()
        for tensor in (hidden, weight)
    )
    return hidden, weight, targets.to(accelerator.device)


def _gradients(loss: Loss, tensors: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(*tensors), tensors[:2])


def _difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    return max(
        float((one - two).abs().max() / two.abs().max())
        for one, two in zip(found, expected, strict=True)
    )


def _measure(
    loss: Loss, tensors: tuple[Tensor, Tensor, Tensor], device: torch.device
) -> tuple[float, float, int]:
    """Return seconds by the clock and of CPU time, and the bytes needed at most."""
    before = reset_peak_memory(device)
    wall, cpu = time.perf_counter(), time.process_time()
    _gradients(loss, tensors)
    synchronize(device)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall, cpu, peak_memory(device) - before


def format_head(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    lines = [
        f"Output layer and loss, forward and backward: {result['preset']}, {result['tokens']} "
        f"tokens, vocabulary {result['vocabulary']}, {result['dtype']}",
        f"{'':<28}{'ms':>8}{'CPU ms':>8}{'peak MiB':>10}{'difference':>12}",
    ]
    lines += [
        f"{name:<28}{row['milliseconds']:>8.0f}{row['cpu_milliseconds']:>8.0f}"
        f"{row['peak_mib']:>10.0f}{row['gradient_difference']:>12.1e}"
        for name, row in result["variants"].items()
    ]
    return "\n".join(lines)
