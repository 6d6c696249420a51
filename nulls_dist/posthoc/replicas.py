"""The processes that hold the same model and share the work on it: how batches are divided.

Every process has the same request, draws the same batches, and computes the rows that are its own.
What a method computes of them is scaled by the rows' share (`Batch.token_share`, `text_share`), so
that the mean over processes is what one process would have computed of all rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from nulls_dist.errors import InputError
from nulls_dist.posthoc.plan import Plan

T = TypeVar("T")


class Descent(ABC):
    """An optimizer with the backward pass before it."""

    @abstractmethod
    def step(self, loss: Tensor) -> bool:
        """Go down the gradient of the mean of a loss over processes: () of this one.

        Returns:
            False where the gradient is not finite: then nothing changes.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to leave behind
        """Leave the model as one that nobody trains."""


@dataclass(frozen=True, kw_only=True)
class Replicas(ABC):
    """This process among those that hold the same model."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def own(self, rows: Sequence[T]) -> Sequence[T]:
        """Return which of the rows of a batch, at least one, this process computes; maybe none."""
        return rows[self.rank :: self.size]

    @abstractmethod
    def descent(self, model: nn.Module, plan: Plan) -> Descent:
        """Return an optimizer of the parameters that require gradients, without momentum.

        Raises:
            InputError: there are none.
        """

    @abstractmethod
    def mean(self, value: Tensor) -> float:
        """Return the mean over processes of a number, ()."""

    @abstractmethod
    def of_first(self, values: Sequence[float]) -> list[float]:
        """Return the numbers that the first process has, as many as this one."""

    @abstractmethod
    def check_same(self, what: str, digest: str) -> None:
        """Make sure that all processes have the same thing.

        Raises:
            InputError: they have not.
        """

    def describe(self) -> dict[str, Any]:
        """Return what repeats the division of work, JSON-ready."""
        return {"processes": self.size}


@dataclass(frozen=True, kw_only=True)
class OneReplica(Replicas):
    """A process by itself, with AdamW of torch."""

    rank: int = 0
    size: int = 1

    def descent(self, model: nn.Module, plan: Plan) -> Descent:
        """Return one whose state has the type of the weights."""
        return _AdamW(model, plan)

    def mean(self, value: Tensor) -> float:
        """Return the number."""
        return value.item()

    def of_first(self, values: Sequence[float]) -> list[float]:
        """Return them."""
        return list(values)

    def check_same(self, what: str, digest: str) -> None:
        """There is nobody to differ from."""


ALONE: Final = OneReplica()


class _AdamW(Descent):
    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self._parameters = trainable_parameters(model)
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay
        )

    def step(self, loss: Tensor) -> bool:
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        if not torch.isfinite(nn.utils.get_total_norm(gradients)):
            return False
        self._optimizer.step()
        return True


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require gradients.

    Raises:
        InputError: there are none.
    """
    trainable = [each for each in model.parameters() if each.requires_grad]
    if not trainable:
        raise InputError(
            "no parameter of the model can be trained; set requires_grad on those to change"
        )
    return trainable
