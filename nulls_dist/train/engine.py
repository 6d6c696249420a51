"""The DeepSpeed engine around the model."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from torch import nn

from nulls_dist.config.deepspeed import deepspeed_config
from nulls_dist.config.schema import RunConfig
from nulls_dist.model.gpt import is_sink
from nulls_dist.parallel.groups import Groups, ModelParallelUnit
from nulls_dist.parallel.quiet import quiet_libraries


def build_engine(
    model: nn.Module, config: RunConfig, groups: Groups, deepspeed_file: dict[str, Any]
) -> Any:
    """Wrap a model for training.

    Args:
        model: the model on its device.
        config: the run's configuration.
        groups: the ranks that train together.
        deepspeed_file: content of the DeepSpeed file.

    Returns:
        A DeepSpeedEngine with a ZeRO optimizer.
    """
    import deepspeed

    # Compiling the shared-memory collectives of CPU runs takes longer than a small run.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    rows_per_rank = config.train.global_batch_rows // groups.topology.dp
    accumulation = rows_per_rank // config.train.micro_batch_rows
    # DeepSpeed prints memory statistics on stdout, which belongs to results.
    with quiet_libraries(), contextlib.redirect_stdout(io.StringIO()):
        deepspeed.init_distributed(verbose=False)
        engine, *_ = deepspeed.initialize(
            model=model,
            model_parameters=parameter_groups(model, config.optim.weight_decay),
            config=deepspeed_config(config, deepspeed_file, accumulation=accumulation),
            mpu=ModelParallelUnit(),
        )
    return engine


@contextlib.contextmanager
def open_engine(
    model: nn.Module, config: RunConfig, groups: Groups, deepspeed_file: dict[str, Any]
) -> Iterator[Any]:
    """Wrap a model for training for the duration of a block; arguments as `build_engine`.

    The engine's hooks on the parameters refer to it where Python cannot see it: left on, they would
    keep the model and the threads of its process groups for as long as the process lives.
    """
    engine = build_engine(model, config, groups, deepspeed_file)
    try:
        yield engine
    finally:
        with quiet_libraries(), contextlib.redirect_stdout(io.StringIO()):
            engine.destroy()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters by weight decay and, as ZeRO needs it, sinks from dense ones.

    Backbone matrices decay; embeddings, norms and sinks do not.
    """
    from deepspeed.moe.utils import split_params_into_different_moe_groups_for_optimizer

    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        plain = parameter.dim() == 1 or is_sink(name) or name.startswith("embedding.")
        (free if plain else decayed).append(parameter)
    groups: list[dict[str, Any]] = split_params_into_different_moe_groups_for_optimizer(
        [
            {"params": decayed, "name": "decayed", "weight_decay": weight_decay},
            {"params": free, "name": "free", "weight_decay": 0.0},
        ]
    )
    return [group for group in groups if group["params"]]
