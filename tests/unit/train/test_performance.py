"""Speed and memory of a step."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nulls_dist.config.presets import nulls_tiny
from nulls_dist.train import performance
from tests.small_models import CPU, one_process, small_config


@pytest.fixture
def run():
    """A run of 8 rows of 128 tokens per step, as far as its speed is concerned."""
    preset = nulls_tiny()
    config = replace(preset, model=small_config(), train=replace(preset.train, dtype="bf16"))
    assert config.train.global_batch_rows * config.model.context_length == 1024
    with one_process(config.model):
        yield SimpleNamespace(config=config)


def test_a_known_device_reports_its_utilization(run, monkeypatch):
    """2 layers of width 64, T 128, 61 tokens: attention (2 * 4 + 2 * 2) * 16 * 64 = 12,288 weights,
    MLP 3 * 64 * 64 = 12,288, active sinks 3 * 64 * 8 = 1,536, output 61 * 64 = 3,904: multiplied
    2 * (12,288 + 12,288 + 1,536) + 3,904 = 56,128. Scores: 2 * 2 * 4 * 16 * 128 = 32,768 FLOPs.
    Three passes of 2 * 56,128 + 32,768 = 435,072 FLOPs per token.
    """
    monkeypatch.setattr(performance, "peak_flops", lambda device, dtype: 435_072 * 8192)
    metrics = performance.PerformanceMeter(run, CPU).measure(step_s=0.5, data_s=0.125)
    assert metrics["perf/tokens_per_s"] == 2048
    assert metrics["perf/mfu"] == 0.25
    assert (metrics["perf/step_s"], metrics["perf/data_s"]) == (0.5, 0.125)


def test_an_unknown_device_has_no_utilization(run):
    metrics = performance.PerformanceMeter(run, CPU).measure(step_s=0.5, data_s=0.125)
    assert "perf/mfu" not in metrics
    assert "perf/peak_allocated_bytes" not in metrics


def test_peak_memory_is_at_least_what_the_kernel_calls_the_high_water_mark_in_bytes(run):
    """At least: a process also inherits the mark of the one that started it."""
    status = Path("/proc/self/status").read_text()
    mark = int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024
    metrics = performance.PerformanceMeter(run, CPU).measure(step_s=1, data_s=0)
    assert mark * 0.99 <= metrics["perf/peak_resident_bytes"] < 1e12
