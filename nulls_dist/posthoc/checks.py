"""Did the weights change, and did the model collapse: asked of every run.

Published comparisons held methods that had changed nothing, and models that had become noise.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from nulls_dist.errors import InputError
from nulls_dist.posthoc.batches import pad
from nulls_dist.posthoc.causal_model import (
    Answers,
    Snapshot,
    device_of,
    evaluating,
    next_token_logits,
)
from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.evaluation import mean_nll

MAX_CHECKED: Final = 32
"""Examples of each kind that the checks look at: the first ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sanity:
    """What became of a model."""

    num_tensors: int
    """Of the model's own parameters."""
    num_changed_tensors: int
    relative_distance: float
    """Norm of the change of all parameters by their norm before."""
    largest_logit_change: float | None
    """On examples to forget, otherwise on retained ones; None without any."""
    has_finite_weights: bool
    retain_nll_before: float | None
    """Nats per token on retained examples; None without any."""
    retain_nll_after: float | None
    uniform_nll: float
    """Of a model that knows nothing: log of the vocabulary's size."""

    @property
    def changed(self) -> bool:
        """Whether the weights differ, or the answers of a module around them."""
        return self.num_changed_tensors > 0 or bool(self.largest_logit_change)

    @property
    def collapsed(self) -> bool | None:
        """Whether it is broken: not finite, or worse than uniform guesses, which it was not before.

        None where it cannot be known, since there is no retained text.
        """
        if not self.has_finite_weights:
            return True
        if self.retain_nll_before is None or self.retain_nll_after is None:
            return None
        if not math.isfinite(self.retain_nll_after):
            return True
        return self.retain_nll_before < self.uniform_nll <= self.retain_nll_after

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; numbers that JSON lacks become null."""
        numbers = {
            "relative_distance": self.relative_distance,
            "largest_logit_change": self.largest_logit_change,
            "retain_nll_before": self.retain_nll_before,
            "retain_nll_after": self.retain_nll_after,
            "uniform_nll": self.uniform_nll,
        }
        return {
            "changed": self.changed,
            "collapsed": self.collapsed,
            "num_tensors": self.num_tensors,
            "num_changed_tensors": self.num_changed_tensors,
            "has_finite_weights": self.has_finite_weights,
            **{
                name: None if value is None or not math.isfinite(value) else value
                for name, value in numbers.items()
            },
        }


class Examiner:
    """Looks at a model before a run and after it.

    Attributes:
        start: the model's weights before.
    """

    def __init__(self, model: nn.Module, request: Request) -> None:
        """Look at the model before.

        Raises:
            InputError: a token of the request is not in the model's vocabulary.
        """
        self.start = Snapshot(model)
        self._model = model
        self._vocab_size = _vocab_size(model)
        _check_tokens(request, self._vocab_size)
        self._retained = request.retain_text[:MAX_CHECKED]
        self._seen = request.forget_text[:MAX_CHECKED] or self._retained
        self._nll_before = self._retain_nll(model)

    def compare(self, unlearned: nn.Module) -> Sanity:
        """Look at what was made of it: the same module or one around it."""
        now = dict(self._model.named_parameters())
        changed = [name for name, was in self.start.weights.items() if _differs(was, now[name])]
        return Sanity(
            num_tensors=len(now),
            num_changed_tensors=len(changed),
            relative_distance=_distance(self.start, now),
            largest_logit_change=self._largest_logit_change(unlearned),
            has_finite_weights=all(bool(torch.isfinite(each).all()) for each in now.values()),
            retain_nll_before=self._nll_before,
            retain_nll_after=self._retain_nll(unlearned),
            uniform_nll=math.log(self._vocab_size),
        )

    def _retain_nll(self, model: nn.Module) -> float | None:
        return mean_nll(Answers(model), self._retained) if self._retained else None

    def _largest_logit_change(self, unlearned: nn.Module) -> float | None:
        changes = [self._logit_change(unlearned, example) for example in self._seen]
        return float(torch.stack(changes).max()) if changes else None

    def _logit_change(self, unlearned: nn.Module, example: Example) -> Tensor:
        input_ids = pad([example.tokens]).to(device_of(self._model))
        before = self.start.logits(self._model, input_ids)
        with evaluating(unlearned):
            after = next_token_logits(unlearned, input_ids, prompt_lengths=[example.start])
            return (after - before).abs().max()


def _differs(was: Tensor, now: Tensor) -> bool:
    return not torch.equal(was, now.detach())


@torch.no_grad()
def _distance(start: Snapshot, now: dict[str, nn.Parameter]) -> float:
    moved = sum(
        float((now[name].float() - was.float()).square().sum())
        for name, was in start.weights.items()
    )
    norm = sum(float(was.float().square().sum()) for was in start.weights.values())
    return math.sqrt(moved / norm)


def _vocab_size(model: nn.Module) -> int:
    with evaluating(model):
        return next_token_logits(model, pad([[0]]).to(device_of(model))).size(-1)


def _check_tokens(request: Request, vocab_size: int) -> None:
    texts = [example.tokens for example in (*request.forget_text, *request.retain_text)]
    for text in [*texts, *request.forget_prompts, *request.retain_prompts]:
        strange = [token for token in text if not 0 <= token < vocab_size]
        if strange:
            raise InputError(
                f"token {strange[0]} is not in the model's vocabulary of {vocab_size}; tokenize "
                "the request with the model's own tokenizer"
            )
