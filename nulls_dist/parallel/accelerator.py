"""The one file that knows about accelerators; CPU (gloo) and CUDA (nccl) run the same code."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """Where tensors live and how processes talk."""

    device: torch.device
    backend: str
    """torch.distributed backend."""

    def supports(self, dtype: torch.dtype) -> bool:
        """Say whether the device computes in a dtype at a useful speed."""
        return dtype == torch.float32 or self.device.type == "cpu" or torch.cuda.is_bf16_supported()


def select_accelerator(local_rank: int) -> Accelerator:
    """Return this rank's device and make it current; tells DeepSpeed where there is no GPU.

    Must run before DeepSpeed is imported, which picks its accelerator at import.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        return Accelerator(device=torch.device("cpu"), backend="gloo")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return Accelerator(device=device, backend="nccl")


def has_varlen_attention(query: Tensor) -> bool:
    """Say whether flash attention over packed documents runs on this tensor's device and dtype."""
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most device memory this process held; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
