"""DeepSpeed's JSON: read, checked against an allow-list, completed from the run's configuration.

DeepSpeed accepts unknown top-level keys silently, so the known ones are listed here. Quantities
that the run's configuration owns (batch size, precision, clipping, optimizer) may be repeated where
they agree with it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nulls_dist.config.flatten import flatten
from nulls_dist.config.schema import RunConfig
from nulls_dist.durable import read_json
from nulls_dist.errors import ConfigError, IntegrityError

ZERO_STAGES: Final = (1, 2)
_ALLOWED: Final = ("zero_optimization", "wall_clock_breakdown", "comms_logger", "flops_profiler")
_ZERO_ALLOWED: Final = (
    *("stage", "contiguous_gradients", "overlap_comm", "reduce_bucket_size"),
    *("allgather_bucket_size", "reduce_scatter", "offload_optimizer"),
)
_REASONS: Final = {
    "round_robin_gradients": ": it hides where a parameter's optimizer state lies",
    "offload_param": ": checkpoints cannot hold its state yet",
    "cpu_offload": ": it is the old name of offload_optimizer",
}
_OWNED: Final = (
    *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"),
    *("gradient_clipping", "bf16.enabled", "fp16.enabled", "data_types.grad_accum_dtype"),
    *("communication_data_type", "optimizer.type", "optimizer.params.lr"),
    *("optimizer.params.betas", "optimizer.params.eps", "optimizer.params.weight_decay"),
    "optimizer.params.torch_adam",
)
"""Keys of the file, objects written as paths, whose values the run's configuration decides."""
DEFAULT_FILE_CONTENT: Final[dict[str, Any]] = {
    "zero_optimization": {
        "stage": 1,
        "contiguous_gradients": True,
        "overlap_comm": False,
        "reduce_bucket_size": 50_000_000,
        "reduce_scatter": True,
    }
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ZeroSettings:
    """What of a DeepSpeed file decides how much memory a rank needs."""

    stage: int
    bucket_elements: int
    """Elements of one reduction bucket."""
    num_buckets: int
    offloads_optimizer: bool


def zero_settings(content: dict[str, Any]) -> ZeroSettings:
    """Return the settings of a file's content, DeepSpeed's defaults filled in."""
    zero = content["zero_optimization"]
    return ZeroSettings(
        stage=zero["stage"],
        bucket_elements=int(zero.get("reduce_bucket_size", 500_000_000)),
        num_buckets=2 if zero.get("overlap_comm") else 1,
        offloads_optimizer="offload_optimizer" in zero,
    )


def read_deepspeed_file(path: Path) -> dict[str, Any]:
    """Read a DeepSpeed configuration file.

    Raises:
        ConfigError: it is not JSON, has an unknown key, or asks for a ZeRO variant that is
            refused.
    """
    try:
        content = read_json(path)
    except IntegrityError as error:
        raise ConfigError(f"--ds-config {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"--ds-config {path}: must be a JSON object")
    for key, value in content.items():
        if key not in _ALLOWED:
            _check_owned(key, value, path)
    _check_zero(content.get("zero_optimization", {}), path)
    return content


def _check_owned(key: str, value: Any, path: Path) -> None:
    if key == "scheduler":
        raise ConfigError(f"--ds-config {path}: scheduler is optim.schedule's; remove it")
    for name, _ in flatten({key: value}):
        if name not in _OWNED:
            known = ", ".join((*_ALLOWED, *_OWNED))
            raise ConfigError(f"--ds-config {path}: key {name!r} is not one of {known}")


def _check_zero(zero: Any, path: Path) -> None:
    where = f"--ds-config {path}: zero_optimization"
    if not isinstance(zero, dict):
        raise ConfigError(f"{where} must be a JSON object")
    stage = zero.get("stage")
    if isinstance(stage, bool) or stage not in ZERO_STAGES:
        raise ConfigError(
            f"{where}.stage ({stage!r}) must be one of {ZERO_STAGES}: DeepSpeed's stage 3 knows no "
            "expert parallelism"
        )
    for key in zero:
        if key not in _ZERO_ALLOWED:
            raise ConfigError(
                f"{where}.{key} is refused{_REASONS.get(key, '')}; known are "
                f"{', '.join(_ZERO_ALLOWED)}"
            )
    _check_values(zero, where)
    needed = ("reduce_scatter", "contiguous_gradients") if stage > 1 else ("reduce_scatter",)
    for key in needed:
        if zero.get(key, True) is not True:
            raise ConfigError(
                f"{where}.{key} ({zero[key]!r}) must be true: DeepSpeed needs it for sink experts "
                f"in stage {stage}"
            )
    if "offload_optimizer" in zero:
        _check_offload(zero["offload_optimizer"], stage, f"{where}.offload_optimizer")


def _check_values(zero: dict[str, Any], where: str) -> None:
    for key in ("reduce_bucket_size", "allgather_bucket_size"):
        if key in zero and (type(zero[key]) not in (int, float) or zero[key] < 1):
            raise ConfigError(f"{where}.{key} ({zero[key]!r}) must be a number of elements above 0")
    if not isinstance(zero.get("overlap_comm", False), bool):
        raise ConfigError(f"{where}.overlap_comm ({zero['overlap_comm']!r}) must be true or false")


def _check_offload(offload: Any, stage: int, where: str) -> None:
    if not isinstance(offload, dict):
        raise ConfigError(f"{where} must be a JSON object")
    for key in offload:
        if key not in ("device", "pin_memory"):
            raise ConfigError(f"{where}.{key} is refused; known are device, pin_memory")
    if offload.get("device") != "cpu":
        raise ConfigError(
            f"{where}.device ({offload.get('device')!r}) must be cpu: checkpoints are written from "
            "memory; without offloading, remove the key"
        )
    if not isinstance(offload.get("pin_memory", True), bool):
        raise ConfigError(f"{where}.pin_memory ({offload['pin_memory']!r}) must be true or false")
    if stage == 1:
        raise ConfigError(f"{where} needs zero_optimization.stage 2, not {stage}")


def settle_deepspeed_file(
    content: dict[str, Any], config: RunConfig, *, data_parallel: int
) -> dict[str, Any]:
    """Return the file's content without what the run's configuration says anyway.

    Args:
        content: as `read_deepspeed_file` returned it.
        config: the run's configuration, its dtype resolved.
        data_parallel: ranks that share the global batch.

    Raises:
        ConfigError: the file contradicts the configuration.
    """
    ours = _values_of_run(config, data_parallel)
    owned = {key: value for key, value in content.items() if key not in _ALLOWED}
    for name, value in flatten(owned):
        wanted, reason = ours[name]
        if value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
            raise ConfigError(
                f"--ds-config: {name} is {json.dumps(value)} in the file but {json.dumps(wanted)} "
                f"in this run ({reason}); make them agree, or remove it from the file"
            )
    return {key: value for key, value in content.items() if key in _ALLOWED}


def _values_of_run(config: RunConfig, data_parallel: int) -> dict[str, tuple[Any, str]]:
    """Return what a run decides by the file's paths: the value and where it comes from."""
    train, optim = config.train, config.optim
    rows = f"train.global_batch_rows={train.global_batch_rows}"
    micro = f"train.micro_batch_rows={train.micro_batch_rows}"
    dtype = f"train.dtype={train.dtype}"
    always = "sums of gradients are float32 in every run"
    accumulation = train.global_batch_rows // (data_parallel * train.micro_batch_rows)
    betas = f"optim.beta1={optim.beta1}, optim.beta2={optim.beta2}"
    return {
        "train_batch_size": (train.global_batch_rows, rows),
        "train_micro_batch_size_per_gpu": (train.micro_batch_rows, micro),
        "gradient_accumulation_steps": (
            accumulation,
            f"{rows}, {micro}, {data_parallel} data-parallel ranks",
        ),
        "gradient_clipping": (optim.grad_clip, f"optim.grad_clip={optim.grad_clip}"),
        "bf16.enabled": (train.dtype == "bf16", dtype),
        "fp16.enabled": (False, dtype),
        "data_types.grad_accum_dtype": ("fp32", always),
        "communication_data_type": ("fp32", always),
        "optimizer.type": ("AdamW", "the only optimizer"),
        "optimizer.params.lr": (optim.lr, f"optim.lr={optim.lr}"),
        "optimizer.params.betas": ([optim.beta1, optim.beta2], betas),
        "optimizer.params.eps": (optim.eps, f"optim.eps={optim.eps}"),
        "optimizer.params.weight_decay": (
            optim.weight_decay,
            f"optim.weight_decay={optim.weight_decay}",
        ),
        "optimizer.params.torch_adam": (True, "the only implementation"),
    }


def deepspeed_config(
    config: RunConfig, file_content: dict[str, Any], *, accumulation: int
) -> dict[str, Any]:
    """Return the whole configuration for `deepspeed.initialize`.

    Gradients are accumulated and communicated in float32 whatever the weights are.

    Args:
        config: the run's configuration.
        file_content: of the DeepSpeed file, settled.
        accumulation: microbatches per step and rank.
    """
    optim = config.optim
    content: dict[str, Any] = {
        **file_content,
        "train_micro_batch_size_per_gpu": config.train.micro_batch_rows,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": optim.grad_clip,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": optim.lr,
                "betas": [optim.beta1, optim.beta2],
                "eps": optim.eps,
                "weight_decay": optim.weight_decay,
                "torch_adam": True,
                "fused": True,  # one pass over memory, on CPU and CUDA alike
            },
        },
        "steps_per_print": 1 << 62,
    }
    if config.train.dtype == "bf16":
        content["bf16"] = {"enabled": True}
        content["data_types"] = {"grad_accum_dtype": "fp32"}
        content["communication_data_type"] = "fp32"
    return content
