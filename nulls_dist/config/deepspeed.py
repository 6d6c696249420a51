"""DeepSpeed's JSON: read, checked against an allow-list, completed from the run's configuration.

DeepSpeed accepts unknown top-level keys silently, so the known ones are listed here. Quantities
that the run's configuration owns (batch size, precision, clipping, optimizer) may not be repeated.
"""

from pathlib import Path
from typing import Any, Final

from nulls_dist.config.schema import RunConfig
from nulls_dist.durable import read_json
from nulls_dist.errors import ConfigError, IntegrityError

ZERO_STAGES: Final = (1, 2)
_ALLOWED: Final = ("zero_optimization", "wall_clock_breakdown", "comms_logger", "flops_profiler")
_ZERO_ALLOWED: Final = (
    *("stage", "contiguous_gradients", "overlap_comm", "reduce_bucket_size"),
    *("allgather_bucket_size", "reduce_scatter"),
)
_REASONS: Final = {
    "round_robin_gradients": ": it hides where a parameter's optimizer state lies",
    "offload_optimizer": ": checkpoints cannot hold its state yet",
    "offload_param": ": checkpoints cannot hold its state yet",
    "cpu_offload": ": checkpoints cannot hold its state yet",
}
_OWNED: Final = {
    "train_batch_size": "train.global_batch_rows",
    "train_micro_batch_size_per_gpu": "train.micro_batch_rows",
    "gradient_accumulation_steps": "train.global_batch_rows and train.micro_batch_rows",
    "gradient_clipping": "optim.grad_clip",
    "optimizer": "optim",
    "scheduler": "optim",
    "bf16": "train.dtype",
    "fp16": "train.dtype",
    "data_types": "train.dtype",
    "communication_data_type": "train.dtype",
}
DEFAULT_FILE_CONTENT: Final[dict[str, Any]] = {
    "zero_optimization": {
        "stage": 1,
        "contiguous_gradients": True,
        "overlap_comm": False,
        "reduce_bucket_size": 50_000_000,
        "reduce_scatter": True,
    }
}


def read_deepspeed_file(path: Path) -> dict[str, Any]:
    """Read a DeepSpeed configuration file.

    Raises:
        ConfigError: it is not JSON, has a key that is unknown or belongs to the run's
            configuration, or asks for a ZeRO variant that is refused.
    """
    try:
        content = read_json(path)
    except IntegrityError as error:
        raise ConfigError(f"--ds-config {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"--ds-config {path}: must be a JSON object")
    for key in content:
        if key in _OWNED:
            raise ConfigError(f"--ds-config {path}: {key} is set by {_OWNED[key]}; remove it")
        if key not in _ALLOWED:
            raise ConfigError(
                f"--ds-config {path}: key {key!r} is not one of {', '.join(_ALLOWED)}"
            )
    _check_zero(content.get("zero_optimization", {}), path)
    return content


def _check_zero(zero: Any, path: Path) -> None:
    where = f"--ds-config {path}: zero_optimization"
    if not isinstance(zero, dict):
        raise ConfigError(f"{where} must be a JSON object")
    stage = zero.get("stage")
    if isinstance(stage, bool) or stage not in ZERO_STAGES:
        raise ConfigError(f"{where}.stage ({stage!r}) must be one of {ZERO_STAGES}")
    for key in zero:
        if key not in _ZERO_ALLOWED:
            raise ConfigError(
                f"{where}.{key} is refused{_REASONS.get(key, '')}; known are "
                f"{', '.join(_ZERO_ALLOWED)}"
            )


def deepspeed_config(
    config: RunConfig, file_content: dict[str, Any], *, accumulation: int
) -> dict[str, Any]:
    """Return the whole configuration for `deepspeed.initialize`.

    Gradients are accumulated and communicated in float32 whatever the weights are.

    Args:
        config: the run's configuration.
        file_content: of the DeepSpeed file.
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
            },
        },
        "steps_per_print": 1 << 62,
    }
    if config.train.dtype == "bf16":
        content["bf16"] = {"enabled": True}
        content["data_types"] = {"grad_accum_dtype": "fp32"}
        content["communication_data_type"] = "fp32"
    return content
