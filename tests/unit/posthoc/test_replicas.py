"""Parts of a batch, computed apart, against the whole of it."""

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.contract import Need
from nulls_dist.posthoc.data_parallel import deepspeed_replicas
from nulls_dist.posthoc.plan import Plan
from nulls_dist.posthoc.replicas import Descent, OneReplica
from nulls_dist.posthoc.runner import run
from tests.posthoc_methods import METHODS
from tests.posthoc_ranks import UNEVEN
from tests.tiny_llama import trained_llama

GRADIENT_METHODS = [method for method in METHODS if Need.GRADIENTS in method.needs]
FP32 = 1e-5
"""Over scale: sums of the same terms in another order. Measured: 3e-7."""


class SeenError(Exception):
    """The first gradient is there; no more is wanted."""


@dataclass(frozen=True, kw_only=True)
class Part(OneReplica):
    """One of several processes that never speak, each of which keeps its first gradient."""

    gradients: dict[str, torch.Tensor] = field(default_factory=dict)

    def descent(self, model, plan):
        gradients = self.gradients

        class Keeper(Descent):
            def step(self, loss):
                torch.autograd.backward(loss)
                for name, parameter in model.named_parameters():
                    if parameter.grad is not None:
                        gradients[name] = parameter.grad.clone()
                raise SeenError

        return Keeper()


def gradient_of(method, rank, size):
    part = Part(rank=rank, size=size)
    with pytest.raises(SeenError):
        run(trained_llama(), method, UNEVEN, Plan(max_steps=1), None, part)
    return part.gradients


@pytest.mark.parametrize("size", [3, 5], ids=lambda size: f"{size} processes")
@pytest.mark.parametrize("method", GRADIENT_METHODS, ids=lambda method: method.name)
def test_the_mean_gradient_of_the_parts_is_that_of_the_batch(method, size):
    whole = gradient_of(method, 0, 1)
    parts = [gradient_of(method, rank, size) for rank in range(size)]
    assert any(gradient.abs().max() > 1e-3 for gradient in whole.values())
    scale = max(float(gradient.abs().max()) for gradient in whole.values())
    for name, gradient in whole.items():
        mean = sum(part[name] for part in parts) / size
        assert (mean - gradient).abs().max() <= FP32 * scale, name


@given(st.integers(1, 40), st.integers(1, 9))
def test_every_row_is_computed_once(num_rows, size):
    rows = list(range(num_rows))
    owned = [OneReplica(rank=rank, size=size).own(rows) for rank in range(size)]
    assert sorted(row for part in owned for row in part) == rows


def test_a_stage_that_cuts_the_weights_is_refused():
    with (
        pytest.raises(ConfigError, match=r"zero_stage \(3\) must be one of \(1, 2\)"),
        deepspeed_replicas(zero_stage=3),
    ):
        pass


def test_the_record_says_that_one_process_ran():
    assert OneReplica().describe() == {"processes": 1}
