"""The training command with a hook that spoils what chosen ranks compute at chosen steps.

`python -m nulls_dist.benchmark.faults.poison '{"3": ["gradient", 1], "5": ["loss", 0]}' ARGUMENTS`
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from nulls_dist.cli import run_command
from nulls_dist.pretrain import main as pretrain
from nulls_dist.train.hooks import Hook, StepEvent

Poison = Mapping[int, tuple[str, int]]
"""Step, counted from 1 -> what to spoil, and the rank that does it."""


class Spoil(Hook):
    """Spoils steps.

    "gradient" puts one NaN into the gradient of a sink, "batch" into what the first token of every
    microbatch is embedded as; "loss" adds infinity to every loss and "spike" 9 nats, both without a
    gradient. "norm" changes a weight of one rank before its step, and so after the step before.
    """

    def __init__(self, module: torch.nn.Module, poison: Poison, *, rank: int) -> None:
        self._module = module
        self._poison = poison
        self._rank = rank
        self._undo: Callable[[], None] = _nothing

    def before_step(self, step: int) -> None:
        """Make the step go wrong if it is its turn, and undo what was done for the one before."""
        self._undo()
        what, rank = self._poison.get(step, ("nothing", self._rank))
        self._undo = _nothing if rank != self._rank else self._spoil(what)

    def _spoil(self, what: str) -> Callable[[], None]:
        """Spoil what comes next; return what undoes it."""
        named = dict(self._module.named_parameters())
        if what == "gradient":
            sinks: Any = next(named[name] for name in named if ".sinks." in name)
            undo: Callable[[], None] = sinks.register_hook(_with_a_nan(-1)).remove
            return undo
        if what == "batch":
            embedding = self._module.get_submodule("embedding.word_embeddings")
            nan = _with_a_nan(0)
            return embedding.register_forward_hook(lambda _module, _in, out: nan(out)).remove
        if what == "norm":
            named["decoder.final_layernorm.weight"].data.add_(1.0)
        elif what in ("loss", "spike"):
            added = torch.inf if what == "loss" else 9.0
            return self._module.register_forward_hook(_add(added), with_kwargs=True).remove
        return _nothing

    def after_step(self, event: StepEvent) -> None:
        """Prepare the next step."""
        self.before_step(event.step + 1)


def _nothing() -> None:
    pass


def _with_a_nan(place: int) -> Callable[[Tensor], Tensor]:
    """Return a copy that has a NaN in one place of the flattened tensor."""

    def spoil(values: Tensor) -> Tensor:
        spoiled = values.clone()
        spoiled.view(-1)[place] = torch.nan
        return spoiled

    return spoil


def _add(nats: float) -> Callable[..., Tensor]:
    """Add to the loss of every target; the module returns their sum."""
    return lambda module, _inputs, named, total: (
        total + nats * named["loss_mask"].sum() if module.training else total
    )


@contextmanager
def poisoned(poison: Poison) -> Iterator[None]:
    """Give the training loop one more hook for the duration of a block."""
    from nulls_dist.train import build, loop

    def poisoned_fit(
        run: Any, engine: Any, ahead: Any, stop: Any, hooks: Sequence[Hook], saver: Any
    ) -> Any:
        spoil = Spoil(engine.module, poison, rank=run.groups.topology.rank)
        spoil.before_step(run.first_step + 1)
        return loop.fit(run, engine, ahead, stop, [spoil, *hooks], saver)

    with patch.object(build, "fit", poisoned_fit):
        yield


def main(argv: Sequence[str]) -> None:
    """Run the command, poisoned."""
    from nulls_dist.parallel.accelerator import select_accelerator

    select_accelerator(0)  # before DeepSpeed is imported
    poison = {int(step): (what, rank) for step, (what, rank) in json.loads(argv[0]).items()}
    with poisoned(poison):
        pretrain(argv[1:])


if __name__ == "__main__":
    sys.exit(run_command(main))
