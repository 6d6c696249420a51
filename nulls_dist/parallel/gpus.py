"""Data-sheet values of GPUs, for planning and for the share of the peak that a run reaches.

Source: NVIDIA's data sheets of the Tensor Core GPUs. Where they count sparse products, half of it.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One kind of GPU."""

    name: str
    """As the driver names it."""
    bf16_flops_per_s: float
    """Dense bf16 peak of the tensor cores, multiply and add counted apart."""
    bytes_per_s: float
    """Peak memory bandwidth."""
    memory_bytes: int


_KNOWN: Final = (
    Gpu(
        name="NVIDIA H200",
        bf16_flops_per_s=989.4e12,
        bytes_per_s=4.8e12,
        memory_bytes=141 * 10**9,
    ),
    Gpu(
        name="NVIDIA H100 80GB HBM3",
        bf16_flops_per_s=989.4e12,
        bytes_per_s=3.35e12,
        memory_bytes=80 * 10**9,
    ),
    Gpu(
        name="NVIDIA H100 NVL",
        bf16_flops_per_s=835e12,
        bytes_per_s=3.9e12,
        memory_bytes=94 * 10**9,
    ),
    Gpu(
        name="NVIDIA H100 PCIe",
        bf16_flops_per_s=756e12,
        bytes_per_s=2.0e12,
        memory_bytes=80 * 10**9,
    ),
    Gpu(
        name="NVIDIA A100-SXM4-80GB",
        bf16_flops_per_s=312e12,
        bytes_per_s=2.039e12,
        memory_bytes=80 * 10**9,
    ),
    Gpu(
        name="NVIDIA A100 80GB PCIe",
        bf16_flops_per_s=312e12,
        bytes_per_s=1.935e12,
        memory_bytes=80 * 10**9,
    ),
    Gpu(
        name="NVIDIA A100-SXM4-40GB",
        bf16_flops_per_s=312e12,
        bytes_per_s=1.555e12,
        memory_bytes=40 * 10**9,
    ),
)
GPUS_BY_DEVICE: Final = {gpu.name: gpu for gpu in _KNOWN}
GPUS: Final = {
    "h200": GPUS_BY_DEVICE["NVIDIA H200"],
    "h100": GPUS_BY_DEVICE["NVIDIA H100 80GB HBM3"],
    "a100": GPUS_BY_DEVICE["NVIDIA A100-SXM4-80GB"],
}
"""Those that a command line can plan for."""
