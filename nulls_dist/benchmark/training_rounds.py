"""The rounds of the speed benchmark: every contestant takes each step, one after another."""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from tqdm import tqdm

from nulls_dist.benchmark.contestants import (
    Contestant,
    Ours,
    build_dense_and_mask,
    build_llama,
)
from nulls_dist.benchmark.stopwatch import Stopwatch
from nulls_dist.config.deepspeed import DEFAULT_FILE_CONTENT
from nulls_dist.config.presets import Control, control_of
from nulls_dist.config.schema import ModelConfig, RunConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.model.counts import count_model
from nulls_dist.model.gpt import build_model, initialize
from nulls_dist.parallel.accelerator import peak_memory, reset_peak_memory
from nulls_dist.parallel.groups import Groups
from nulls_dist.train.engine import build_engine
from nulls_dist.train.inputs import HostBatch, step_batches
from nulls_dist.train.run import Run, assemble_run

OURS: Final = "nulls-dist"
DENSE: Final = "dense and mask"
TOTAL: Final = "Llama, total width"
ACTIVE: Final = "Llama, active width"
TARGETS: Final = {DENSE: 3.0, TOTAL: 3.0, ACTIVE: 0.85}
"""Our speed over a peer's, at least; at the layer shape of nulls_1b on one CPU thread."""
_SAME_LOSS: Final = {"fp32": 1e-4, "bf16": 2e-2}
_PARTS: Final = ("data", "forward", "backward", "optimizer", "other")


class _Entry:
    """A contestant with its measurements.

    Attributes:
        contestant: built, and warmed up with one step.
        first_loss: of that step.
        watches: of the steps that count.
    """

    def __init__(
        self, build: Callable[[], Contestant], batches: list[HostBatch], device: torch.device
    ) -> None:
        self._device = device
        before = reset_peak_memory(device)
        self.contestant = build()
        self.first_loss = self.contestant.step(batches, Stopwatch(device))
        self._state_bytes = reset_peak_memory(device) - before
        self.watches: list[Stopwatch] = []
        self._growth: list[int] = []

    def measure(self, make_batches: Callable[[int], list[HostBatch]], step: int) -> None:
        """Take a step that counts, data included."""
        before = reset_peak_memory(self._device)
        watch = Stopwatch(self._device)
        with watch.step():
            with watch.part("data"):
                batches = make_batches(step)
            self.contestant.step(batches, watch)
        self.watches.append(watch)
        self._growth.append(peak_memory(self._device) - before)

    def figures(self, num_tokens: int) -> dict[str, Any]:
        """Return the medians."""
        step_s = statistics.median(watch.wall_s for watch in self.watches)
        return {
            "tokens_per_s": num_tokens / step_s,
            "step_s": step_s,
            "cpu_s": statistics.median(watch.cpu_s for watch in self.watches),
            "parts_s": {
                part: statistics.median(watch.parts[part] for watch in self.watches)
                for part in _PARTS
            },
            "peak_mib": (self._state_bytes + statistics.median(self._growth)) / 2**20,
        }


def run_rounds(
    config: RunConfig, corpus: Corpus, groups: Groups, device: torch.device, rounds: int
) -> dict[str, Any]:
    """Train all contestants in turns.

    Args:
        config: the run's configuration, everything resolved.
        corpus: what to train on.
        groups: of one process.
        device: where to train.
        rounds: timed steps of each.

    Returns:
        "contestants": speed, time by part and memory of each; "communication_s" of a step of
        ours; "speedup" over the others; "documents" per step; "flops_per_token" and "flops_per_s"
        of ours; "loss_difference" between ours and dense-and-mask, relative, before training.
    """
    run = assemble_run(
        config,
        run_dir=corpus.root,
        corpus=corpus,
        groups=groups,
        checkpoint=None,
        allow_new_corpus=False,
    )
    stream = run.batches(seed=config.seed, rows_per_step=config.train.global_batch_rows)

    def batches_of(step: int) -> list[HostBatch]:
        return step_batches(run, stream, device, step)

    first = batches_of(0)
    entries = {
        name: _Entry(build, first, device)
        for name, build in tqdm(_builders(run, device).items(), desc="warm-up", disable=None)
    }
    difference = abs(entries[OURS].first_loss / entries[DENSE].first_loss - 1)
    assert difference < _SAME_LOSS[config.train.dtype], f"not the same model: {difference}"
    for step in tqdm(range(1, rounds + 1), desc="rounds", disable=None):
        for entry in entries.values():
            entry.measure(batches_of, step)
    num_tokens = config.train.global_batch_rows * config.model.context_length
    figures = {name: entry.figures(num_tokens) for name, entry in entries.items()}
    flops = _flops_per_token(config.model, first)
    return {
        "contestants": figures,
        "communication_s": _communication_s(entries[OURS], batches_of(rounds + 1), device),
        "speedup": {name: _speedup(entries, name) for name in TARGETS},
        "documents": sum(batch.microbatch.layout.num_segments for batch in first),
        "flops_per_token": flops,
        "flops_per_s": flops * figures[OURS]["tokens_per_s"],
        "loss_difference": difference,
    }


def _builders(run: Run, device: torch.device) -> dict[str, Callable[[], Contestant]]:
    model = run.config.model
    dtype = torch.bfloat16 if run.config.train.dtype == "bf16" else torch.float32

    def width(kind: Control) -> int:
        return control_of(run.config, kind).model.num_backbone

    def build_ours() -> Ours:
        built = build_model(model, run.groups.topology, device)
        initialize(built, model, run.groups.topology, run.config.seed)
        return Ours(run, build_engine(built, run.config, run.groups, DEFAULT_FILE_CONTENT))

    return {
        OURS: build_ours,
        DENSE: lambda: build_dense_and_mask(run, device, dtype),
        TOTAL: lambda: build_llama(run, width("total"), device, dtype),
        ACTIVE: lambda: build_llama(run, width("active"), device, dtype),
    }


def _speedup(entries: dict[str, _Entry], peer: str) -> dict[str, float]:
    """Return the median over rounds of the peer's time over ours, by clock and by CPU time."""
    pairs = list(zip(entries[peer].watches, entries[OURS].watches, strict=True))
    return {
        "wall": statistics.median(their.wall_s / our.wall_s for their, our in pairs),
        "cpu": statistics.median(their.cpu_s / our.cpu_s for their, our in pairs),
        "target": TARGETS[peer],
    }


def _flops_per_token(model: ModelConfig, batches: list[HostBatch]) -> float:
    """Count forward and backward, with attention inside the documents that were there."""
    lengths = np.concatenate([batch.microbatch.layout.lengths for batch in batches])
    seen = (lengths**2).sum() / lengths.sum()  # the mean length that a token finds itself in
    flops: float = count_model(replace(model, context_length=round(seen))).flops_per_token
    return flops


def _communication_s(entry: _Entry, batches: list[HostBatch], device: torch.device) -> float:
    """Take one more step under the profiler; return the time of its collectives."""
    with torch.profiler.profile() as profile:
        entry.contestant.step(batches, Stopwatch(device))
    return math.fsum(
        event.cpu_time_total * 1e-6
        for event in profile.key_averages()
        if event.key.startswith(f"{dist.get_backend()}:")
    )
