"""Partial Model Collapse: train on the model's own answers that are least like its first one.

Source: arXiv 2507.04219; the algorithm and its defaults were verified in code:
yascho/partial-model-collapse-unlearning (commit 18d74b8). It unlearns answers to questions; asking
the pieces of documents (`prompts.prompts_of`) is this project's way to unlearn text.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import takewhile
from typing import Any, ClassVar, Final

import torch
from torch import nn

from nulls_dist.errors import ConfigError
from nulls_dist.eval.generation import MAX_TEMPERATURE
from nulls_dist.eval.greedy import sampled
from nulls_dist.eval.metrics.overlap import rouge_l
from nulls_dist.posthoc import losses
from nulls_dist.posthoc.batches import Batch
from nulls_dist.posthoc.contract import Example, Need, Split
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.work import Draws, Work

Tokens = tuple[int, ...]
Decode = Callable[[Sequence[int]], str]
_SEEDS: Final = 2**63


@dataclass(frozen=True, kw_only=True)
class PartialModelCollapse(Method):
    """Lower the loss of the sampled answer that overlaps least with the first greedy one.

    Per step and prompt `num_samples` answers are drawn from the model as it is by then; the best
    so far is the target, CE(best | prompt) + retain_weight CE(retained). A prompt whose best
    overlaps with nothing is sampled no more. True answers are never read: what the model got wrong
    at first is not forgotten. Defaults are those for Llama-3.2-3B-Instruct; for phi-1.5 they are
    retain_weight 1.5, temperature 1.25, 5 samples and top_p as here.
    """

    name: ClassVar[str] = "partial model collapse"

    max_new_tokens: int
    """Of every answer; decoding takes no cache, so it is the cost."""
    num_samples: int = 20
    temperature: float = 0.9
    top_p: float = 0.95
    retain_weight: float = 1.25
    min_length: int = 0
    """Answers below it are held for worse (`penalised`); at 0 the model may learn to be silent."""
    eos_id: int | None = None
    """Ends an answer, and is learned with it; None where nothing does."""
    decode: Decode | None = field(default=None, repr=False)
    """Text of tokens, for overlap in words as published; by default it is in tokens."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "num_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be at least 1")
        if not 0 < self.temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"temperature ({self.temperature}) must be above 0 and at most {MAX_TEMPERATURE:g}"
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p ({self.top_p}) must be above 0 and at most 1")

    @property
    def needs(self) -> frozenset[Need]:
        """Prompts without answers, text to keep and gradients."""
        return frozenset({Need.FORGET_PROMPTS, Need.RETAIN_TEXT, Need.GRADIENTS})

    @property
    def settings(self) -> dict[str, Any]:
        """What repeats the method; of `decode` only whether there is one."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "decode": None if self.decode is None else "given"
        }

    def unlearn(self, work: Work) -> nn.Module:
        """Take steps until the plan ends."""
        targets = Targets(self, work)
        for prompts in work.steps(work.forget_prompt_batches()):
            batch = targets.batch(prompts)
            kept = work.retain_batch(len(prompts))
            forget = batch.token_share * losses.mean_nll(work.logits(batch), batch.labels)
            retain = kept.token_share * losses.mean_nll(work.logits(kept), kept.labels)
            work.update(forget + self.retain_weight * retain)
        return work.model

    def score(self, original: Sequence[int], answer: Sequence[int]) -> float:
        """Return how much an answer is like the original one, from 0 to 1; lower is better."""
        if self.decode is None:
            return penalised(token_recall(original, answer), len(answer), self.min_length)
        truth, said = self.decode(original), self.decode(answer)
        recall = rouge_l(truth, said, stemmer=True).recall
        return penalised(recall, len(said.split()), self.min_length)


class Targets:
    """What each prompt is to be answered by: the answer least like the first one so far."""

    def __init__(self, method: PartialModelCollapse, work: Work) -> None:
        """Ask the model as it is for its greedy answers."""
        self._method = method
        self._work = work
        prompts = list(dict.fromkeys(map(tuple, work.forget_prompts)))
        greedy = work.write(prompts, method.max_new_tokens, lambda logits: int(logits.argmax()))
        self._originals = dict(zip(prompts, map(self._said, greedy), strict=True))
        self._best: dict[Tokens, tuple[float, Tokens]] = {}
        seed = int(work.draws(Draws.METHOD).integers(_SEEDS))
        draws = torch.Generator().manual_seed(seed)
        self._choose = sampled(method.temperature, draws, top_p=method.top_p)

    def batch(self, prompts: Sequence[Sequence[int]]) -> Batch:
        """Return prompts with their targets, after sampling for those that can still improve."""
        asked = [tuple(prompt) for prompt in prompts]
        self._improve([p for p in dict.fromkeys(asked) if p not in self._best or self._best[p][0]])
        return self._work.collate(
            [
                Example(tokens=(*prompt, *self._best[prompt][1]), start=len(prompt))
                for prompt in asked
            ],
            Split.FORGET,
        )

    def _improve(self, prompts: Sequence[Tokens]) -> None:
        count = self._method.num_samples
        repeated = [prompt for prompt in prompts for _ in range(count)]
        written = self._work.write(repeated, self._method.max_new_tokens, self._choose)
        for number, prompt in enumerate(prompts):
            for tokens in written[number * count : (number + 1) * count]:
                self._offer(prompt, tokens)

    def _offer(self, prompt: Tokens, written: Sequence[int]) -> None:
        said = self._said(written)
        score = self._method.score(self._originals[prompt], said)
        # With its end, as far as it has one; an answer in its middle has more to say.
        target = tuple(written[: len(said) + 1])
        if prompt not in self._best or score <= self._best[prompt][0]:
            self._best[prompt] = (score, target)

    def _said(self, written: Sequence[int]) -> Tokens:
        """Return an answer up to its end."""
        return tuple(takewhile(lambda token: token != self._method.eos_id, written))


def token_recall(original: Sequence[int], answer: Sequence[int]) -> float:
    """Return the longest common subsequence over the original's length; 0 of an empty original.

    ROUGE-L recall with tokens for words.
    """
    lengths = [0] * (len(answer) + 1)
    for token in original:
        above = list(lengths)
        for place, other in enumerate(answer):
            lengths[place + 1] = (
                above[place] + 1 if token == other else max(above[place + 1], lengths[place])
            )
    return lengths[-1] / len(original) if original else 0.0


def penalised(recall: float, length: int, min_length: int) -> float:
    """Return min(1, recall + exp(-length)) below a length, the recall itself from there on.

    Source: verified in code, as the module says. Without it an empty answer, which overlaps with
    nothing, would be the best.
    """
    return min(1.0, recall + math.exp(-length)) if length < min_length else recall
