"""Is a prompt about what is to be forgotten? A classifier of token ids, learned per request."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from nulls_dist.errors import ConfigError

Prompts = Sequence[Sequence[int]]


class PromptClassifier(nn.Module, ABC):
    """Tells prompts to forget; its parameters count as what answering takes beyond the model's."""

    @abstractmethod
    def forward(self, prompts: Prompts) -> Tensor:
        """Return the probability that each prompt is to be forgotten, (n,) float64 on the CPU."""

    def describe(self) -> dict[str, Any]:
        """Return the recipe that a file of the parameters is read by.

        Raises:
            ConfigError: no file holds such a classifier.
        """
        raise ConfigError(
            f"a {type(self).__name__} cannot be written; take hashed n-grams, or keep it in Python"
        )


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(ABC):
    """How a classifier is learned."""

    name: ClassVar[str]

    @abstractmethod
    def learn(self, forget: Prompts, retain: Prompts, *, seed: int) -> PromptClassifier:
        """Return a classifier of two kinds of prompts, at least one each; it learns no more."""

    def describe(self) -> dict[str, Any]:
        """Return name and settings, JSON-ready."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class HashedNgrams(ClassifierRecipe):
    """Logistic regression on hashed n-grams of token ids: small, and needs no other model.

    This project's choice for machines without a pretrained encoder; the classes weigh alike, as in
    the publication. Paraphrases without a common n-gram pass it.
    """

    name: ClassVar[str] = "hashed n-grams"

    longest: int = 3
    """n-grams have 1 to so many tokens."""
    num_features: int = 2**16
    """Hash values."""
    inverse_penalty: float = 100.0
    """C of scikit-learn; higher = surer."""

    def __post_init__(self) -> None:
        for name in ("longest", "num_features"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be at least 1")
        if not self.inverse_penalty > 0:
            raise ConfigError(f"inverse_penalty ({self.inverse_penalty}) must be above 0")

    def learn(self, forget: Prompts, retain: Prompts, *, seed: int) -> PromptClassifier:
        """Fit the regression; it draws no random numbers.

        Raises:
            ConfigError: scikit-learn is not installed.
        """
        try:
            from sklearn.linear_model import LogisticRegression  # heavy, and of an extra
        except ImportError as error:
            raise ConfigError(
                "hashed n-grams need scikit-learn: pip install 'nulls-dist[eval]'"
            ) from error
        regression = LogisticRegression(
            C=self.inverse_penalty, class_weight="balanced", max_iter=1000
        )
        labels = np.repeat([1, 0], [len(forget), len(retain)])
        regression.fit(self.count([*forget, *retain]), labels)
        weight = torch.tensor(regression.coef_[0])
        return self.restore(
            weight, torch.tensor(float(regression.intercept_[0]), dtype=weight.dtype)
        )

    def restore(self, weight: Tensor, bias: Tensor) -> PromptClassifier:
        """Return a classifier that was learned before.

        Args:
            weight: (num_features,) float64.
            bias: () float64.
        """
        return _LinearClassifier(self, weight, bias)

    def count(self, prompts: Prompts) -> Any:
        """Return hashed counts of n-grams, a sparse (n, num_features) matrix of unit rows."""
        from sklearn.feature_extraction.text import HashingVectorizer

        vectorizer = HashingVectorizer(analyzer=self._ngrams, n_features=self.num_features)
        return vectorizer.transform(prompts)

    def _ngrams(self, tokens: Sequence[int]) -> list[str]:
        return [
            " ".join(map(str, tokens[at : at + n]))
            for n in range(1, self.longest + 1)
            for at in range(len(tokens) - n + 1)
        ]


class _LinearClassifier(PromptClassifier):
    def __init__(self, recipe: HashedNgrams, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.recipe = recipe
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def describe(self) -> dict[str, Any]:
        return self.recipe.describe()

    def forward(self, prompts: Prompts) -> Tensor:
        weight = self.weight.double().cpu().numpy()
        logits = self.recipe.count(prompts) @ weight + float(self.bias)
        return torch.from_numpy(special.expit(logits))
