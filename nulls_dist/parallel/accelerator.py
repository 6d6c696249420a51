"""The one file that knows about accelerators; CPU (gloo) and CUDA (nccl) run the same code."""

import os
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from nulls_dist.config.schema import DType
from nulls_dist.errors import ConfigError

_PEAK_BF16_FLOPS: Final = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989.4e12,
}
"""Dense matrix products per second by the driver's name of the device, multiply and add counted
apart. Source: NVIDIA's data sheets, which count sparse ones, halved where they do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """Where tensors live and how processes talk."""

    device: torch.device
    backend: str
    """torch.distributed backend."""
    dtype: Literal["fp32", "bf16"]
    """What train.dtype=auto means here."""


def select_accelerator(local_rank: int) -> Accelerator:
    """Return this rank's device and make it current; tells DeepSpeed where there is no GPU.

    Must run before DeepSpeed is imported, which picks its accelerator at import.

    Raises:
        ConfigError: there are several GPUs, but none for this rank.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        return Accelerator(device=torch.device("cpu"), backend="gloo", dtype="fp32")
    visible = torch.cuda.device_count()
    if visible > 1 and local_rank >= visible:
        raise ConfigError(
            f"local rank {local_rank} has no GPU: {visible} are visible on this node; start fewer "
            "processes per node, or set CUDA_VISIBLE_DEVICES= to train on CPUs"
        )
    # A scheduler may show each process its own GPU only.
    device = torch.device("cuda", local_rank if visible > 1 else 0)
    torch.cuda.set_device(device)
    dtype: Literal["fp32", "bf16"] = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return Accelerator(device=device, backend="nccl", dtype=dtype)


def peak_flops(device: torch.device, dtype: DType) -> float | None:
    """Return what the device can do per second at best, None where it is not known."""
    if device.type != "cuda" or dtype != "bf16":
        return None
    return _PEAK_BF16_FLOPS.get(torch.cuda.get_device_name(device))


def peak_allocated_bytes(device: torch.device) -> int | None:
    """Return the most memory that tensors held on a GPU so far, None without one."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def has_varlen_attention(query: Tensor) -> bool:
    """Say whether flash attention over packed documents runs on this tensor's device and dtype."""
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)
