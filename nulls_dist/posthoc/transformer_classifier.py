"""A transformer as classifier of prompts, fine-tuned as ECO prompts does with RoBERTa.

Source: arXiv 2406.07933; recipe and defaults verified in code: llm-unlearn-eco (commit 9b0ba1a),
scripts/train_classifier.py. It keeps the checkpoint with the fewest errors on further sets; here,
where there are none, the last one is kept.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nulls_dist.posthoc.batches import pad, shuffled
from nulls_dist.posthoc.causal_model import device_of, evaluating
from nulls_dist.posthoc.prompt_classifier import ClassifierRecipe, PromptClassifier, Prompts

_BETAS: Final = (0.9, 0.98)
_EPSILON: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class FinetunedTransformer(ClassifierRecipe):
    """Class-weighted cross-entropy, AdamW, a cosine after a linear warm-up."""

    name: ClassVar[str] = "fine-tuned transformer"

    build: Callable[[], nn.Module] = field(repr=False)
    """Gives a sequence classifier of transformers with two labels, of which 1 is to forget."""
    encode: Callable[[Sequence[int]], Sequence[int]] = field(repr=False)
    """Tokens of the language model -> those of the classifier, at least one."""
    max_length: int = 512
    """Further tokens of the classifier are not read."""
    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 2e-5
    weight_decay: float = 0.1
    warmup: float = 0.1
    """Share of the steps."""

    def describe(self) -> dict[str, Any]:
        """Return name and settings; neither the classifier's weights nor its tokenizer."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.repr}
        return {"name": self.name, **given}

    def learn(self, forget: Prompts, retain: Prompts, *, seed: int) -> PromptClassifier:
        """Fine-tune a classifier, with gradients of its own."""
        examples = [(prompt, 1) for prompt in forget] + [(prompt, 0) for prompt in retain]
        counts = torch.tensor([len(retain), len(forget)])
        num_steps = self.epochs * math.ceil(len(examples) / self.batch_size)
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(seed)
            reader = _Reader(self)
            optimizer = torch.optim.AdamW(
                reader.parameters(),
                lr=self.learning_rate,
                weight_decay=self.weight_decay,
                betas=_BETAS,
                eps=_EPSILON,
            )
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: self._rate(step / num_steps)
            )
            batches = shuffled(examples, self.batch_size, np.random.default_rng(seed))
            reader.train()
            for _, batch in zip(range(num_steps), batches, strict=False):
                logits = reader.logits([prompt for prompt, _ in batch])
                labels = torch.tensor([label for _, label in batch], device=logits.device)
                weight = (len(examples) / counts).to(logits)
                optimizer.zero_grad()
                torch.autograd.backward(functional.cross_entropy(logits, labels, weight=weight))
                optimizer.step()
                schedule.step()
        return reader.requires_grad_(False).eval()

    def _rate(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


class _Reader(PromptClassifier):
    def __init__(self, recipe: FinetunedTransformer) -> None:
        super().__init__()
        self.transformer = recipe.build()
        self._encode = recipe.encode
        self._max_length = recipe.max_length

    def logits(self, prompts: Prompts) -> Tensor:
        """Return (n, 2) logits with gradients."""
        texts = [list(self._encode(prompt))[: self._max_length] for prompt in prompts]
        input_ids = pad(texts)
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(input_ids.size(1)) < lengths[:, None]).long()
        device = device_of(self.transformer)
        said = self.transformer(input_ids=input_ids.to(device), attention_mask=mask.to(device))
        logits: Tensor = said.logits
        return logits

    def forward(self, prompts: Prompts) -> Tensor:
        with evaluating(self.transformer):
            return self.logits(prompts).double().softmax(-1)[:, 1].cpu()
