"""The training command with a hook that spoils what chosen ranks compute at chosen steps.

`python -m tests.poisoned_pretrain '{"3": ["gradient", 1], "5": ["loss", 0]}' ARGUMENTS...`
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from nulls_dist.cli import run_command
from nulls_dist.pretrain import main as pretrain
from nulls_dist.train.hooks import Hook, StepEvent

Poison = Mapping[int, tuple[str, int]]
"""Step, counted from 1 -> what to spoil, and the rank that does it."""


class Spoil(Hook):
    """Puts one NaN into the gradient of a sink, or a constant on top of every loss.

    The constant is infinity ("loss") or 9 nats ("spike"); it leaves the gradient as it is. "norm"
    changes a weight of one rank before its step, and so after the step before.
    """

    def __init__(self, module: torch.nn.Module, poison: Poison, *, rank: int) -> None:
        self._module = module
        self._poison = poison
        self._rank = rank
        self._undo: Callable[[], None] = lambda: None

    def before_step(self, step: int) -> None:
        """Make the step go wrong if it is its turn, and undo what was done for the one before."""
        self._undo()
        what, rank = self._poison.get(step, ("nothing", self._rank))
        if what == "nothing" or rank != self._rank:
            self._undo = lambda: None
        elif what == "gradient":
            named = dict(self._module.named_parameters())
            name = next(name for name in named if ".sinks." in name)
            self._undo = named[name].register_hook(_with_a_nan).remove
        elif what == "norm":
            named = dict(self._module.named_parameters())
            named["decoder.final_layernorm.weight"].data.add_(1.0)
            self._undo = lambda: None
        else:
            added = {"loss": torch.inf, "spike": 9.0}[what]
            self._undo = self._module.register_forward_hook(_add(added), with_kwargs=True).remove

    def after_step(self, event: StepEvent) -> None:
        """Prepare the next step."""
        self.before_step(event.step + 1)


def _with_a_nan(gradient: Tensor) -> Tensor:
    spoiled = gradient.clone()
    spoiled.view(-1)[-1] = torch.nan
    return spoiled


def _add(nats: float) -> Callable[..., Tensor]:
    """Add to the loss of every target; the module returns their sum."""
    return lambda module, _inputs, named, total: (
        total + nats * named["loss_mask"].sum() if module.training else total
    )


def poison_fit(poison: Poison, patch: pytest.MonkeyPatch) -> None:
    """Give the training loop one more hook for as long as the patch lives."""
    from nulls_dist.train import build

    fit = build.fit

    def poisoned_fit(
        run: Any, engine: Any, ahead: Any, stop: Any, hooks: Sequence[Hook], saver: Any
    ) -> Any:
        spoil = Spoil(engine.module, poison, rank=run.groups.topology.rank)
        spoil.before_step(run.first_step + 1)
        return fit(run, engine, ahead, stop, [spoil, *hooks], saver)

    patch.setattr(build, "fit", poisoned_fit)


def main(argv: Sequence[str]) -> None:
    """Run the command, poisoned."""
    from nulls_dist.parallel.accelerator import select_accelerator

    select_accelerator(0)  # before DeepSpeed is imported
    poison = {int(step): (what, rank) for step, (what, rank) in json.loads(argv[0]).items()}
    with pytest.MonkeyPatch.context() as patch:
        poison_fit(poison, patch)
        pretrain(argv[1:])


if __name__ == "__main__":
    sys.exit(run_command(main))
