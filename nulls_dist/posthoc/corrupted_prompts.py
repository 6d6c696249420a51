"""A model whose prompts are corrupted where a classifier says that they are to be forgotten.

1. The classifier reads each prompt. Other prompts, and what follows any, pass as they are.
2. A selector names tokens of a flagged prompt.
3. While the model runs, a hook behind its input embeddings corrupts those of the named tokens.

The weights stay what they are, and so do the hooks of others: ours are there during a forward pass
or an `attached` block and are removed one by one. The noise of a prompt is always the same.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.causal_model import PromptReader, layer_of, next_token_logits
from nulls_dist.posthoc.corruptions import Corruption
from nulls_dist.posthoc.prompt_classifier import PromptClassifier

Select = Callable[[Sequence[int]], Sequence[bool]]
"""Takes the tokens of a prompt, says of each whether it is corrupted."""


class Scope(StrEnum):
    """What is corrupted of a flagged prompt with its answer."""

    PROMPT = "prompt"
    PROMPT_AND_ANSWER = "prompt+answer"
    """As published code does where answers are given (verified): likelihoods are then not those of
    a model that writes, which reads its own answer unharmed."""


def all_but_last(tokens: Sequence[int]) -> list[bool]:
    """Select all tokens but the last, as published where no name is found (verified in code)."""
    return [place < len(tokens) - 1 for place in range(len(tokens))]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flagged:
    """A row of a batch that is corrupted."""

    row: int
    columns: list[int]
    seed: int


class CorruptedPrompts(PromptReader):
    """A model, a classifier and a corruption.

    Attributes:
        strength: of the corruption; may be changed.
    """

    def __init__(
        self,
        model: nn.Module,
        classifier: PromptClassifier,
        corruption: Corruption,
        *,
        strength: float,
        threshold: float,
        scope: Scope = Scope.PROMPT,
        select: Select = all_but_last,
        embedding: str | None = None,
        seed: int = 0,
    ) -> None:
        """Wrap a model.

        Args:
            model: gives logits of tokens; evaluated, not trained.
            classifier: of prompts.
            corruption: of embeddings.
            strength: of the corruption.
            threshold: a prompt is flagged above this probability.
            scope: what is corrupted where a prompt comes with an answer.
            select: tokens to corrupt; where it selects none, `all_but_last` does.
            embedding: dotted name of the layer of input embeddings; None for a model of
                transformers, which knows it.
            seed: of the noise.

        Raises:
            ConfigError: there is no such layer.
        """
        super().__init__()
        self.model = model
        self.classifier = classifier
        self.strength = strength
        self._corruption = corruption
        self._threshold = threshold
        self._scope = Scope(scope)
        self._select = select
        self._embedding = embedding
        self._seed = seed
        self._layer()

    def describe(self) -> dict[str, Any]:
        """Return what makes it again, JSON-ready, but for model and classifier's parameters.

        Raises:
            ConfigError: it has a classifier or a selector that no file holds.
        """
        if self._select is not all_but_last:
            raise ConfigError("a selector of tokens cannot be written; keep it in Python")
        return {
            "strength": self.strength,
            "threshold": self._threshold,
            "scope": self._scope.value,
            "embedding": self._embedding,
            "seed": self._seed,
            "classifier": self.classifier.describe(),
            "corruption": self._corruption.describe(),
        }

    def forward(
        self,
        input_ids: Tensor,
        prompt_lengths: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Return (B, T, V) logits; what is corrupted is said in the module's docstring."""
        num_rows, width = input_ids.shape
        sizes = [width] * num_rows if lengths is None else lengths
        texts = [row[:size] for row, size in zip(input_ids.tolist(), sizes, strict=True)]
        columns = [range(size) for size in sizes]
        flagged = self._flag(texts, columns, sizes if prompt_lengths is None else prompt_lengths)
        with self._hooked(lambda _, __, said: self._corrupt(said, input_ids.shape, flagged)):
            return next_token_logits(self.model, input_ids)

    @contextmanager
    def attached(self) -> Iterator[nn.Module]:
        """Give the model itself, which corrupts within the block: for transformers' `generate`.

        What is given at once, more than one token, is taken for prompts; so leave the cache on.
        """
        shape = torch.Size((0, 0))
        flagged: list[_Flagged] = []

        def read(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal shape, flagged
            input_ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
            mask = kwargs.get("attention_mask")
            shape, flagged = input_ids.shape, []
            if shape[1] > 1:
                whole = torch.ones_like(input_ids) if mask is None else mask
                columns = [row.nonzero()[:, 0].tolist() for row in whole]
                texts = [
                    row[places].tolist() for row, places in zip(input_ids, columns, strict=True)
                ]
                flagged = self._flag(texts, columns, [len(text) for text in texts])

        handle = self.model.register_forward_pre_hook(read, with_kwargs=True)
        try:
            with self._hooked(lambda _, __, said: self._corrupt(said, shape, flagged)):
                yield self.model
        finally:
            handle.remove()

    def _flag(
        self,
        texts: Sequence[Sequence[int]],
        columns: Sequence[Sequence[int]],
        prompt_lengths: Sequence[int],
    ) -> list[_Flagged]:
        """Return the rows to corrupt; `columns` says where the tokens of each text stand."""
        prompts = [text[:length] for text, length in zip(texts, prompt_lengths, strict=True)]
        chances = self.classifier(prompts).tolist()
        return [
            _Flagged(
                row=row,
                columns=[columns[row][place] for place in self._places(texts[row], prompt)],
                seed=_seed_of(prompt, self._seed),
            )
            for row, (prompt, chance) in enumerate(zip(prompts, chances, strict=True))
            if chance > self._threshold
        ]

    def _places(self, text: Sequence[int], prompt: Sequence[int]) -> list[int]:
        tokens = prompt if self._scope is Scope.PROMPT else text
        selected = self._select(tokens)
        chosen = selected if any(selected) else all_but_last(tokens)
        return [place for place, is_chosen in enumerate(chosen) if is_chosen]

    def _corrupt(self, embeddings: Tensor, shape: torch.Size, flagged: list[_Flagged]) -> Tensor:
        if not flagged:
            return embeddings
        changed = embeddings.clone(memory_format=torch.contiguous_format)
        rows = changed.view(*shape, -1)  # (B, T, D), also where the model lays rows end to end
        for each in flagged:
            draws = torch.Generator().manual_seed(each.seed)
            own = rows[each.row, each.columns]
            rows[each.row, each.columns] = self._corruption(own, self.strength, draws)
        return changed

    @contextmanager
    def _hooked(self, hook: Callable[[nn.Module, Any, Tensor], Tensor]) -> Iterator[None]:
        handle = self._layer().register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def _layer(self) -> nn.Module:
        if self._embedding is not None:
            return layer_of(self.model, self._embedding)
        model: Any = self.model
        if not hasattr(model, "get_input_embeddings"):
            raise ConfigError(
                f"a {type(model).__name__} does not say where its input embeddings are; name "
                "the layer by embedding="
            )
        layer: nn.Module = model.get_input_embeddings()
        return layer


def _seed_of(prompt: Sequence[int], seed: int) -> int:
    digest = hashlib.sha256(repr((seed, list(prompt))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes 63 bits
