"""The one file that knows about accelerators; CPU (gloo) and CUDA (nccl) run the same code."""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from nulls_dist.config.schema import DType
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.gpus import GPUS_BY_DEVICE


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
    gpu = GPUS_BY_DEVICE.get(torch.cuda.get_device_name(device))
    return gpu.bf16_flops_per_s if gpu else None


def peak_allocated_bytes(device: torch.device) -> int | None:
    """Return the most memory that tensors held on a GPU so far, None without one."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def add_rows(total: Tensor, rows: Tensor, values: Tensor) -> None:
    """Add values to rows of a sum, the same bits every time; rows may repeat.

    Tensor-parallel ranks hold the same sinks and must give them the same gradient. On a GPU
    `index_add_` adds in any order, `index_put_` sorts the rows first.
    """
    if total.is_cuda:
        total.index_put_((rows,), values, accumulate=True)
    else:
        total.index_add_(0, rows, values)


def has_varlen_attention(query: Tensor) -> bool:
    """Say whether flash attention over packed documents runs on this tensor's device and dtype."""
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


def pin_memory(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a host tensor in memory that the device can copy from while the host goes on.

    A CPU reads every memory: the tensor is returned as it is.
    """
    if device.type != "cuda":
        return tensor
    with torch.cuda.device(device):  # a new thread's current device is the first one
        return tensor.pin_memory()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> int:
    """Forget the peak of memory use so far; return the bytes in use now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident size
    return _resident_bytes("VmRSS")


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use since the reset: tensors on a GPU, resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _resident_bytes("VmHWM")


def _resident_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"Linux reports {field}")
