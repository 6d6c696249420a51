"""The sink benchmark as a whole: which cases, on one thread, and how they are shown."""

from typing import Any, Final

import torch
from tqdm import tqdm

from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.quiet import quiet_libraries

_CASES: Final = (
    ("articles", torch.float32),
    ("stubs", torch.float32),
    ("articles", torch.bfloat16),
    ("stubs", torch.bfloat16),
)
PRODUCTION: Final = "grouped_mm (production)"


def bench_sinks(*, num_tokens: int, repeats: int) -> dict[str, Any]:
    """Measure every case on one CPU thread.

    Returns:
        "speedup_vs_dense_and_mask" of the production path in float32 on article-like documents,
        "cases" with every figure.
    """
    select_accelerator(0)
    torch.set_num_threads(1)
    with quiet_libraries():
        from nulls_dist.benchmark.sinks import measure_sinks

        cases = [
            measure_sinks(num_tokens=num_tokens, documents=documents, dtype=dtype, repeats=repeats)
            for documents, dtype in tqdm(_CASES, desc="cases", disable=None)
        ]
    return {
        "speedup_vs_dense_and_mask": cases[0]["variants"][PRODUCTION]["speedup"],
        "cases": cases,
    }


def format_sinks(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    lines = [
        "Forward and backward of one MLP: d 960, 512 backbone and 7680 sink neurons, 96 active.",
        f"{'':<26}{'ms':>10}{'speed-up':>10}{'saved MiB':>11}{'error':>10}",
    ]
    for case in result["cases"]:
        lines.append(
            f"{case['dtype']}, {case['tokens']} tokens, {case['segments']} {case['documents']} "
            f"(bound {case['bound']:.1f}x)"
        )
        lines += [
            f"  {name:<24}{row['milliseconds']:>10.1f}{row['speedup']:>9.1f}x"
            f"{row['saved_mib']:>11.1f}{row['relative_error']:>10.1e}"
            for name, row in case["variants"].items()
        ]
    return "\n".join(lines)
