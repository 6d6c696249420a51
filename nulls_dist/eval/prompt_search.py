"""Search for a prompt that makes a model write a text: greedy coordinate gradient.

The gradient by the one-hot rows of the prompt says which tokens might help; single swaps drawn from
the best of them are tried, and the best swap is kept. Source: GCG, arXiv 2307.15043, algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from nulls_dist.eval.inference import InferenceModel
from nulls_dist.eval.metrics.compression import (
    COMPRESSION_RATIO,
    MEMORIZED_SHARE,
    Compression,
    SearchPlan,
    shortest_prompt,
)
from nulls_dist.eval.metrics.intervals import clustered_mean
from nulls_dist.eval.metrics.result import MetricResult
from nulls_dist.eval.token_scores import Passage, batches_of, score_batch

SMALL_PLAN: Final = SearchPlan(longest_per_token=1, num_steps=50, growth=1.0)
"""For small models on a CPU: prompts as long as the text, which is all that 'memorized' asks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SwapSettings:
    """How one step looks for a better prompt."""

    num_candidates: int = 100
    """Swaps that are tried."""
    best_tokens: int = 250
    """Per place, tokens that a swap is drawn from."""
    seed: int = 42


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a prompt is to elicit."""

    tokens: Sequence[int]
    """At least one."""
    source_id: int
    """Whose sinks serve; NO_SOURCE for the backbone alone."""
    allowed: Sequence[int]
    """Tokens that a prompt may consist of: text, and not the end of a document."""


def compress(
    model: InferenceModel,
    target: Target,
    plan: SearchPlan = SMALL_PLAN,
    settings: SwapSettings | None = None,
) -> Compression:
    """Search for the shortest prompt after which greedy decoding writes the target.

    Args:
        model: the model; prompt and target must fit its context.
        target: the text.
        plan: lengths and number of steps.
        settings: of each step.

    Raises:
        RefusedError: the source was deleted.
    """
    search = PromptSearch(model, target, settings or SwapSettings())
    return shortest_prompt(len(target.tokens), search.elicit, plan)


class PromptSearch:
    """Looks for prompts of given lengths; the same calls in the same order find the same."""

    def __init__(self, model: InferenceModel, target: Target, settings: SwapSettings) -> None:
        self._model = model
        self._target = target
        self._settings = settings
        self._draws = np.random.default_rng(settings.seed)
        self._allowed = torch.tensor(sorted(target.allowed))

    def elicit(self, length: int, num_steps: int) -> tuple[int, ...] | None:
        """Return a prompt that elicits the target, or None if none was met.

        Args:
            length: of the prompt, in tokens, at least 1.
            num_steps: at most how many times the best swap is taken.
        """
        start = self._draws.choice(self._allowed.numpy(), length)
        prompt = tuple(int(token) for token in start)
        if self._first_hit([prompt])[0] is not None:
            return prompt
        steps = tqdm(range(num_steps), f"prompts of {length}", disable=None, leave=False)
        for _ in steps:
            hit, prompt = self._first_hit(self._swaps(prompt))
            if hit is not None:
                return hit
        return None

    def _first_hit(
        self, prompts: Sequence[tuple[int, ...]]
    ) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
        """Return a prompt that elicits the target, if any does, and the one that comes nearest."""
        target = self._target
        passages = [
            Passage(tokens=[*prompt, *target.tokens], start=len(prompt), source_id=target.source_id)
            for prompt in prompts
        ]
        scores = [
            score for batch in batches_of(passages) for score in score_batch(self._model, batch)
        ]
        hits = (prompt for prompt, score in zip(prompts, scores, strict=True) if score.is_greedy)
        nearest = min(range(len(prompts)), key=lambda number: scores[number].nll)
        return next(hits, None), prompts[nearest]

    def _swaps(self, prompt: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Draw prompts that differ in one token, towards a lower loss to first order."""
        gradient = self._gradient(prompt)[:, self._allowed]
        best = gradient.topk(min(self._settings.best_tokens, len(self._allowed)), largest=False)
        choices = self._allowed[best.indices].numpy()
        swaps = []
        for _ in range(self._settings.num_candidates):
            place = int(self._draws.integers(len(prompt)))
            token = int(self._draws.choice(choices[place]))
            swaps.append((*prompt[:place], token, *prompt[place + 1 :]))
        return swaps

    def _gradient(self, prompt: tuple[int, ...]) -> Tensor:
        tokens = torch.tensor(self._target.tokens)

        def loss(logits: Tensor) -> Tensor:
            said = logits[len(prompt) - 1 :]
            return functional.cross_entropy(said.float(), tokens.to(logits.device))

        text = [*prompt, *self._target.tokens[:-1]]
        gradient = self._model.token_gradient(text, self._target.source_id, loss)
        return gradient[: len(prompt)]


def compression_results(
    group: str, found: Sequence[Compression], source_ids: Sequence[int]
) -> list[MetricResult]:
    """Return the mean compression ratio and the share of texts that are memorized.

    Args:
        group: what the texts are.
        found: of each text.
        source_ids: whose text each is.
    """
    ratios = [each.ratio for each in found]
    memorized = [float(each.is_memorized) for each in found]
    details = {"n_censored": sum(each.prompt is None for each in found)}
    return [
        MetricResult(
            metric=metric,
            group=group,
            value=float(np.mean(values)),
            n=len(found),
            interval=clustered_mean(values, np.array(source_ids, dtype=np.uint64)),
            details=details,
        )
        for metric, values in ((COMPRESSION_RATIO, ratios), (MEMORIZED_SHARE, memorized))
    ]
