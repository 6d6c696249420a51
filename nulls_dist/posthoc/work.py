"""What a method works with: the parts of the request that it declared, and nothing else.

Whatever a method computes goes through this object, which counts the tokens.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from nulls_dist.errors import RefusedError
from nulls_dist.eval.greedy import continue_texts
from nulls_dist.eval.token_scores import Passage, TokenScores
from nulls_dist.posthoc.batches import Batch, collate, sample, shuffled
from nulls_dist.posthoc.causal_model import (
    Answers,
    Snapshot,
    device_of,
    layer_of,
    layer_output,
    next_token_logits,
)
from nulls_dist.posthoc.contract import Example, Need, Split
from nulls_dist.posthoc.evaluation import Evaluations, Unit, score_examples
from nulls_dist.posthoc.ledger import CostLedger, Meter
from nulls_dist.posthoc.plan import Ending, Plan
from nulls_dist.posthoc.replicas import Descent, Replicas
from nulls_dist.sources import NO_SOURCE

T = TypeVar("T")


class Draws(IntEnum):
    """What random numbers are for; those of two purposes are independent."""

    FORGET_ORDER = 0
    """The same for all methods, so they see the same batches."""
    RETAIN = 1
    METHOD = 2


class DivergedError(Exception):
    """A loss or its gradient is not finite: the run ends with the weights before it."""


class Work:
    """A run of one method.

    Attributes:
        model: to be changed in place.
        plan: steps, optimizer, seed.
        ledger: counts.
        ending: why the run would have ended, had it ended now.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        granted: Mapping[Need, Any],
        evaluations: Evaluations,
        ledger: CostLedger,
        replicas: Replicas,
    ) -> None:
        """Begin.

        Args:
            model: the model.
            plan: the plan.
            granted: what the method declared; the reference model as a snapshot.
            evaluations: along the way.
            ledger: where costs go.
            replicas: who shares the work.
        """
        self.model = model
        self.plan = plan
        self.ledger = ledger
        self.meter = Meter(ledger, device_of(model))
        self.ending = Ending.PLAN
        self._granted = granted
        self._evaluations = evaluations
        self._replicas = replicas
        self._device = device_of(model)
        self._draws: dict[Draws, np.random.Generator] = {}
        self._with_gradients = dict.fromkeys(Split, 0)

    @property
    def forget_text(self) -> Sequence[Example]:
        """The text to forget.

        Raises:
            RefusedError: as for every part of the request, if it was not declared.
        """
        examples: Sequence[Example] = self._grant(Need.FORGET_TEXT)
        return examples

    @property
    def forget_prompts(self) -> Sequence[Sequence[int]]:
        """Prompts without their answers."""
        prompts: Sequence[Sequence[int]] = self._grant(Need.FORGET_PROMPTS)
        return prompts

    @property
    def retain_text(self) -> Sequence[Example]:
        """The text to keep."""
        examples: Sequence[Example] = self._grant(Need.RETAIN_TEXT)
        return examples

    @property
    def retain_prompts(self) -> Sequence[Sequence[int]]:
        """Prompts whose answers are to be kept."""
        prompts: Sequence[Sequence[int]] = self._grant(Need.RETAIN_PROMPTS)
        return prompts

    @property
    def source_ids(self) -> Sequence[int]:
        """The sources to forget."""
        source_ids: Sequence[int] = self._grant(Need.SOURCE_IDS)
        return source_ids

    @property
    def reference(self) -> Snapshot:
        """The model as it was before; its logits are not counted, those of `reference_logits` are.

        Raises:
            RefusedError: it was not declared.
        """
        snapshot: Snapshot = self._grant(Need.REFERENCE_MODEL)
        return snapshot

    def draws(self, purpose: Draws) -> np.random.Generator:
        """Return the random numbers of a purpose: the same object every time, so they go on."""
        if purpose not in self._draws:
            self._draws[purpose] = self.draws_anew(purpose)
        return self._draws[purpose]

    def draws_anew(self, purpose: Draws) -> np.random.Generator:
        """Return the random numbers of a purpose from their beginning."""
        return np.random.default_rng((self.plan.seed, purpose))

    def forget_batches(self) -> Iterator[Batch]:
        """Yield batches of the text to forget for ever, pass after pass."""
        order = self.draws_anew(Draws.FORGET_ORDER)
        for examples in shuffled(self.forget_text, self.plan.batch_size, order):
            yield self.collate(examples, Split.FORGET)

    def forget_prompt_batches(self) -> Iterator[Sequence[Sequence[int]]]:
        """Yield batches of the prompts to forget for ever, pass after pass."""
        order = self.draws_anew(Draws.FORGET_ORDER)
        return shuffled(self.forget_prompts, self.plan.batch_size, order)

    def retain_batch(self, count: int) -> Batch:
        """Return so many examples of the text to keep, drawn with replacement."""
        return self.collate(sample(self.retain_text, count, self.draws(Draws.RETAIN)), Split.RETAIN)

    def collate(self, examples: Sequence[Example], split: Split) -> Batch:
        """Make a batch on the model's device, of which this process computes its part."""
        return collate(examples, split, self._device, self._replicas)

    def logits(self, batch: Batch) -> Tensor:
        """Return the model's logits, (B, T, V)."""
        self._count(batch)
        return next_token_logits(self.model, batch.input_ids)

    def reference_logits(self, batch: Batch) -> Tensor:
        """Return the logits of the model as it was before, (B, T, V), without gradients."""
        with torch.no_grad():
            self._count(batch)
            return self.reference.logits(self.model, batch.input_ids)

    def scores(
        self, examples: Sequence[Example], split: Split, *, model: nn.Module | None = None
    ) -> list[TokenScores]:
        """Score the tokens of examples that count, in evaluation mode and without gradients.

        Args:
            examples: as the request gave them.
            split: whose they are.
            model: what was made of the model so far; by default the model itself.
        """
        self.ledger.forward_tokens[split] += sum(len(example.tokens) for example in examples)
        return score_examples(Answers(model or self.model), tuple(examples))

    def write(
        self, prompts: Sequence[Sequence[int]], num_tokens: int, choose: Callable[[Tensor], int]
    ) -> list[list[int]]:
        """Let the model continue prompts, in evaluation mode; nothing stops it early.

        Args:
            prompts: of at least one token each.
            num_tokens: how many are written after each.
            choose: takes the next token by its logits, (V,).
        """
        self.ledger.decoded_tokens += len(prompts) * num_tokens
        passages = [Passage(tokens=prompt, source_id=NO_SOURCE) for prompt in prompts]
        return continue_texts(Answers(self.model), passages, [num_tokens] * len(prompts), choose)

    def activations(self, batch: Batch, layer: str) -> Tensor:
        """Return what a layer of the model says, (B, T, D).

        Args:
            batch: the examples.
            layer: dotted name of a submodule.

        Raises:
            ConfigError: there is no such submodule.
        """
        self._count(batch)
        said = layer_output(
            layer_of(self.model, layer), lambda: next_token_logits(self.model, batch.input_ids)
        )
        return said.reshape(*batch.input_ids.shape, -1)

    def reference_activations(self, batch: Batch, layer: str) -> Tensor:
        """Return what a layer said before, (B, T, D), without gradients; errors likewise."""
        said = layer_output(layer_of(self.model, layer), lambda: self.reference_logits(batch))
        return said.reshape(*batch.input_ids.shape, -1)

    def update(self, loss: Tensor) -> None:
        """Take a step of the optimizer down the gradient of a loss.

        Args:
            loss: () of logits or activations that this object gave; of the rows of this process,
                times their share.

        Raises:
            DivergedError: the loss or its gradient is not finite; nothing changes.
            RefusedError: gradients were not declared.
        """
        self._grant(Need.GRADIENTS)
        value = self._replicas.mean(loss)
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value}")
        if not self._descent.step(loss):
            raise DivergedError("the gradient is not finite")
        for split in Split:
            self.ledger.backward_tokens[split] += self._with_gradients[split]
            self._with_gradients[split] = 0

    @property
    def is_stopped(self) -> bool:
        """Whether the last evaluation met the stop rule."""
        return self.ending is Ending.RULE

    def forget_momentum(self) -> None:
        """Let the next update be the first of a new optimizer.

        It must be called, too, when weights were written: an optimizer may hold copies of them.
        """
        if "_descent" in self.__dict__:
            self._descent.close()
            del self._descent

    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield a batch for every step, evaluating on the way and at the end.

        Ends at the plan's last step, when its stop rule is met, or with the last batch.
        """
        taken, evaluated = 0, 0
        due = islice(batches, self.plan.max_steps)
        for batch in tqdm(due, "unlearn", self.plan.max_steps, disable=None, leave=False):
            yield batch
            taken += 1
            if taken % self.plan.evaluate_every == 0:
                evaluated = taken
                if self.evaluate(self.model, taken, Unit.STEP):
                    return
        if evaluated < taken and self.evaluate(self.model, taken, Unit.STEP):
            return
        self.ending = Ending.PLAN if taken == self.plan.max_steps else Ending.METHOD

    def evaluate(self, model: nn.Module, at: float, unit: Unit) -> bool:
        """Evaluate a model on the way, and say whether the stop rule is met.

        Args:
            model: the one that would be handed over now.
            at: how far the run is.
            unit: what `at` counts.
        """
        met = self._evaluations.stops(model, at, unit, self.meter)
        self.ending = Ending.RULE if met else Ending.PLAN
        return met

    def _grant(self, need: Need) -> Any:
        if need not in self._granted:
            raise RefusedError(
                f"the method uses {need.value} without having declared it; it declared "
                f"{', '.join(sorted(self._granted)) or 'nothing'}: add Need.{need.name} to its "
                "needs"
            )
        return self._granted[need]

    def _count(self, batch: Batch) -> None:
        self.ledger.forward_tokens[batch.split] += batch.num_tokens
        if torch.is_grad_enabled():
            self._with_gradients[batch.split] += batch.num_tokens

    @cached_property
    def _descent(self) -> Descent:
        return self._replicas.descent(self.model, self.plan)
