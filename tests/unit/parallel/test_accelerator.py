"""What is known of a device."""

import pytest
import torch

from nulls_dist.parallel.accelerator import (
    peak_allocated_bytes,
    peak_flops,
    peak_memory,
    reset_peak_memory,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12),
        ("NVIDIA H200", "bf16", 989.4e12),
        ("NVIDIA H200", "fp32", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", None),
        ("NVIDIA H100", "bf16", None),
    ],
)
def test_the_peak_is_known_for_whole_devices_of_exactly_that_name_in_bf16(
    monkeypatch, name, dtype, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(GPU, dtype) == expected


def test_a_cpu_has_neither_a_peak_nor_allocated_memory():
    assert peak_flops(CPU, "bf16") is None
    assert peak_allocated_bytes(CPU) is None


def test_the_peak_counts_memory_that_was_given_back_and_a_reset_forgets_it():
    """Half of it is asked for: meanwhile the system may take back pages that nobody uses."""
    size = 64 << 20
    before = reset_peak_memory(CPU)
    filled = torch.ones(size // 4)
    assert peak_memory(CPU) - before >= size // 2
    del filled
    assert peak_memory(CPU) - before >= size // 2
    now = reset_peak_memory(CPU)
    assert peak_memory(CPU) - now < size // 4
