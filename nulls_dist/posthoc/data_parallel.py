"""Several processes, started by mpirun, torchrun or srun, that divide a method's batches.

DeepSpeed's ZeRO adds up the gradients and deals the optimizer's state over the processes; each
holds all weights. In float32 the result is that of one process but for the order of sums: nothing
is clipped, which DeepSpeed would do by default.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nulls_dist.config.deepspeed import ZERO_STAGES
from nulls_dist.config.environment import read_launch
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.groups import process_group
from nulls_dist.parallel.quiet import quiet_libraries
from nulls_dist.posthoc.plan import Plan
from nulls_dist.posthoc.replicas import Descent, Replicas, trainable_parameters

_TYPES: Final = (torch.float32, torch.bfloat16)


@dataclass(frozen=True, kw_only=True)
class DeepSpeedReplicas(Replicas):
    """Processes that are joined, each with the same model on its device."""

    device: torch.device
    """Where this process's model belongs."""
    zero_stage: int

    def descent(self, model: nn.Module, plan: Plan) -> Descent:
        """Return AdamW of DeepSpeed, whose state and weights are float32."""
        return _ZeroAdamW(model, plan, zero_stage=self.zero_stage)

    def mean(self, value: Tensor) -> float:
        """Add up and divide, in float64; not finite where one of the numbers is not."""
        total = value.detach().to(torch.float64)
        dist.all_reduce(total)
        return total.item() / self.size

    def of_first(self, values: Sequence[float]) -> list[float]:
        """Send them from the first process."""
        sent = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.broadcast(sent, src=0)
        found: list[float] = sent.tolist()
        return found

    def check_same(self, what: str, digest: str) -> None:
        """Compare the digests of all processes."""
        digests: list[Any] = [None] * self.size
        dist.all_gather_object(digests, digest)
        others = [rank for rank, other in enumerate(digests) if other != digests[0]]
        if others:
            raise InputError(
                f"{what} of process {others[0]} is not that of process 0; give every process the "
                "same model, method, request and plan, on the same kind of device"
            )

    def describe(self) -> dict[str, Any]:
        """Return the number of processes and what DeepSpeed does."""
        import deepspeed

        return {
            "processes": self.size,
            "zero_stage": self.zero_stage,
            "deepspeed": str(deepspeed.__version__),
        }


@contextmanager
def deepspeed_replicas(zero_stage: int = 1) -> Iterator[DeepSpeedReplicas]:
    """Join the other processes that the launcher started, for the duration of a block.

    Once per process: DeepSpeed remembers the group it saw first.

    Args:
        zero_stage: 1 deals the optimizer's state over the processes, 2 the gradients as well.

    Raises:
        ConfigError: of another stage, or the launcher's variables do not fit.
    """
    if zero_stage not in ZERO_STAGES:
        raise ConfigError(
            f"zero_stage ({zero_stage}) must be one of {ZERO_STAGES}: methods read and write whole "
            "weights, which stage 3 cuts"
        )
    launch = read_launch()
    accelerator = select_accelerator(launch.local_rank)
    with quiet_libraries(), process_group(launch, accelerator):
        yield DeepSpeedReplicas(
            rank=launch.rank,
            size=launch.world_size,
            device=accelerator.device,
            zero_stage=zero_stage,
        )


class _ZeroAdamW(Descent):
    """ZeRO decays and moves every parameter that it was given, also one without a gradient.

    AdamW of torch leaves such ones alone. So the first loss decides which parameters ZeRO is given:
    those that it reaches on any process.
    """

    def __init__(self, model: nn.Module, plan: Plan, *, zero_stage: int) -> None:
        self._model = model
        self._plan = plan
        self._zero_stage = zero_stage
        self._trainable = trainable_parameters(model)
        self._left_out: list[nn.Parameter] = []
        self._engine: Any = None

    def step(self, loss: Tensor) -> bool:
        if self._engine is None:
            self._engine = self._build(self._reached(loss))
        self._engine.backward(loss)
        if any(each.grad is not None for each in self._left_out):
            raise InputError(
                "a parameter has its first gradient after the first step, as in a mixture of "
                "experts whose router chose none of its tokens until now; run this model in one "
                "process"
            )
        self._engine.step()
        return bool(self._engine.was_step_applied())

    def close(self) -> None:
        if self._engine is not None:
            self._engine.destroy()  # takes its hooks off the parameters

    def _reached(self, loss: Tensor) -> list[nn.Parameter]:
        torch.autograd.backward(loss, retain_graph=True)
        is_reached = torch.tensor(
            [each.grad is not None for each in self._trainable],
            dtype=torch.int32,
            device=loss.device,
        )
        dist.all_reduce(is_reached, dist.ReduceOp.MAX)
        self._model.zero_grad()
        reached: list[nn.Parameter] = []
        for parameter, yes in zip(self._trainable, is_reached.tolist(), strict=True):
            (reached if yes else self._left_out).append(parameter)
        return reached

    def _build(self, parameters: list[nn.Parameter]) -> Any:
        import deepspeed

        # Compiling the shared-memory collectives of CPU runs takes longer than a small run.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # DeepSpeed prints memory statistics on stdout, which belongs to results.
        with redirect_stdout(StringIO()):
            deepspeed.init_distributed(verbose=False)
            engine, *_ = deepspeed.initialize(
                model=self._model,
                model_parameters=parameters,
                config=_config(self._plan, _type_of(parameters), self._zero_stage),
            )
        return engine


def _type_of(parameters: list[nn.Parameter]) -> torch.dtype:
    types = {each.dtype for each in parameters}
    if len(types) > 1 or not types <= set(_TYPES):
        raise InputError(
            f"the weights to train are {', '.join(sorted(map(str, types)))}; under DeepSpeed they "
            f"must all be one of {', '.join(map(str, _TYPES))}: convert the model with .to()"
        )
    return types.pop()


def _config(plan: Plan, dtype: torch.dtype, zero_stage: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # read by nobody: losses are scaled before
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "zero_optimization": {"stage": zero_stage, "overlap_comm": False},
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": plan.learning_rate,
                "weight_decay": plan.weight_decay,
                "torch_adam": True,
            },
        },
        "steps_per_print": 1 << 62,
    }
    if dtype == torch.bfloat16:
        content["bf16"] = {"enabled": True}
        content["data_types"] = {"grad_accum_dtype": "fp32"}
        content["communication_data_type"] = "fp32"
    return content
