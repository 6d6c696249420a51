"""The mean of several models."""

import pytest
import torch

from nulls_dist.errors import InputError
from nulls_dist.eval.ensemble import Ensemble


class Constant:
    """Says the same after every token."""

    def __init__(self, probabilities):
        self._logits = torch.tensor(probabilities).log() + 3.0

    def logits(self, texts, source_ids):
        return [self._logits.expand(len(text), -1) for text in texts]


ONE, TWO, THREE = (Constant(row) for row in ([0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.5, 0.3, 0.2]))


def probabilities(*models):
    (said, _) = Ensemble(models).logits([[0, 1], [2]], [7, 7])
    return said.exp()


def test_probabilities_are_averaged_and_logits_are_not():
    expected = torch.tensor([[0.5, 0.3, 0.2]] * 2)
    torch.testing.assert_close(probabilities(ONE, TWO), expected)


def test_a_single_model_stays_what_it_is():
    torch.testing.assert_close(probabilities(TWO), torch.tensor([[0.2, 0.5, 0.3]] * 2))


def test_retraining_a_shard_leaves_nothing_of_the_model_before():
    torch.testing.assert_close(
        3 * probabilities(ONE, TWO, THREE) - 3 * probabilities(ONE, TWO, TWO),
        probabilities(THREE) - probabilities(TWO),
    )


def test_no_model_says_nothing():
    with pytest.raises(InputError, match="one model per shard"):
        Ensemble([])
