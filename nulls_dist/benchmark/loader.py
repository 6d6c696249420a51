"""Speed of the loader: from a corpus on disk to microbatches, with and without their sinks."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tqdm import tqdm

from nulls_dist.benchmark.random_corpus import write_random_corpus
from nulls_dist.config.presets import load_preset
from nulls_dist.config.schema import RunConfig
from nulls_dist.data.batches import GlobalBatches, Microbatch
from nulls_dist.data.corpus import Corpus
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.routing.dropout import draw_dropped
from nulls_dist.routing.plan import build_plan
from nulls_dist.routing.router import Router
from nulls_dist.train.run import router_spec

TARGET_TOKENS_PER_S: Final = 5e6
_BYTES_PER_TOKEN: Final = 2
_ROUNDS: Final = 5

Make = Callable[[int], list[Microbatch]]


def bench_loader(work: Path, *, preset: str, megabytes: int) -> dict[str, Any]:
    """Read a corpus once from end to end, each way, in turns.

    Args:
        work: directory for the corpus, which is removed again.
        preset: gives rows, microbatches and the shape of the router.
        megabytes: size of the corpus.

    Returns:
        "rates": tokens per second by the clock and by CPU time, the median of the rounds;
        "documents", "tokens" of the corpus.
    """
    config = load_preset(preset)
    num_tokens = megabytes * 10**6 // _BYTES_PER_TOKEN
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        vocab_size = config.model.vocab_size or 1 << 13
        corpus = write_random_corpus(
            Path(folder) / "corpus", num_tokens=num_tokens, vocab_size=vocab_size
        )
        variants, tokens_per_step = _variants(config, corpus)
        steps = max(1, int(corpus.lengths.sum()) // tokens_per_step // _ROUNDS)
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        for index in tqdm(range(_ROUNDS), desc="rounds", disable=None):
            for name, make in variants.items():
                wall, cpu = time.perf_counter(), time.process_time()
                for step in range(index * steps, (index + 1) * steps):
                    make(step)
                measured[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        return {
            "preset": preset,
            "documents": corpus.num_documents,
            "tokens": int(corpus.lengths.sum()),
            "target_tokens_per_s": TARGET_TOKENS_PER_S,
            "rates": {
                name: _rates(seconds, steps * tokens_per_step) for name, seconds in measured.items()
            },
        }


def _variants(config: RunConfig, corpus: Corpus) -> tuple[dict[str, Make], int]:
    """Return what is measured, and the tokens of a step."""
    model, size = config.model, config.train.micro_batch_rows
    rows_per_step = size * model.num_experts
    experts = range(model.num_experts)
    table = balance_buckets(corpus.tokens_per_bucket(), model.num_experts)
    router = Router(router_spec(model, corpus.manifest.router_seed), table)
    stream = GlobalBatches(
        corpus,
        router.experts_of(corpus.source_ids),
        num_experts=model.num_experts,
        context_length=model.context_length,
        rows_per_step=rows_per_step,
        seed=0,
    )

    def read(step: int) -> list[Microbatch]:
        rows = stream.rank_rows(step, experts=experts, replica=0, num_replicas=1)
        return [stream.assemble(rows[begin : begin + size]) for begin in range(0, len(rows), size)]

    def read_and_route(step: int) -> list[Microbatch]:
        batches = read(step)
        for batch in batches:
            dropped = draw_dropped(batch.layout, probability=model.sink_dropout, seed=0, step=step)
            build_plan(router, batch.layout, local_experts=experts, dropped=dropped)
        return batches

    variants: dict[str, Make] = {"rows and tokens": read, "with the plan": read_and_route}
    return variants, rows_per_step * model.context_length


def _rates(seconds: list[tuple[float, float]], num_tokens: int) -> dict[str, float]:
    wall, cpu = zip(*seconds, strict=True)
    return {
        "tokens_per_s": num_tokens / statistics.median(wall),
        "tokens_per_cpu_s": num_tokens / statistics.median(cpu),
    }


def format_loader(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    lines = [
        f"{result['tokens'] / 1e6:.0f} M tokens in {result['documents']} documents, "
        f"{result['preset']}; target {result['target_tokens_per_s'] / 1e6:.0f} M tokens/s",
        f"{'':<18}{'M tokens/s':>12}{'M tokens/CPU s':>16}",
    ]
    lines += [
        f"{name:<18}{row['tokens_per_s'] / 1e6:>12.1f}{row['tokens_per_cpu_s'] / 1e6:>16.1f}"
        for name, row in result["rates"].items()
    ]
    return "\n".join(lines)
