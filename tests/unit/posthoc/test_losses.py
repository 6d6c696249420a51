"""Losses against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.posthoc import losses
from nulls_dist.posthoc.batches import IGNORED, collate
from nulls_dist.posthoc.contract import Example, Split
from tests.tiny_llama import FORGET, RETAIN, trained_llama

TOLERANCE = {"rel": 1e-4}


def value(loss):
    return pytest.approx(loss.item(), **TOLERANCE)


def test_uniform_guesses_of_three_tokens_cost_three_times_log_of_the_vocabulary():
    logits, labels = torch.zeros(1, 4, 4), torch.tensor([[IGNORED, 1, 2, 3]])
    assert value(losses.sequence_nll(logits, labels)) == 4.1589
    assert value(losses.ascent(logits, labels)) == -math.log(4)


def test_selective_ascent_weighs_every_text_alike():
    sure = torch.tensor([0.0, math.log(2), 0.0, 0.0])  # 2/5 for token 1, otherwise 1/5
    logits = torch.stack([torch.zeros(4, 4), sure.expand(4, 4)])
    labels = torch.tensor([[IGNORED, 1, 2, 3], [IGNORED, 1, IGNORED, IGNORED]])
    expected = -(math.log(4) + math.log(5 / 2)) / 2
    assert value(losses.ascent_per_text(logits, labels)) == expected
    assert value(losses.ascent(logits, labels)) == -(3 * math.log(4) + math.log(5 / 2)) / 4


def test_likelihoods_are_those_of_transformers():
    model = trained_llama()
    examples = [*FORGET, Example(tokens=(1, 2, 3), start=1), *RETAIN]
    batch = collate(examples, Split.FORGET, torch.device("cpu"))
    theirs = model(input_ids=batch.input_ids, labels=batch.labels)
    assert value(losses.mean_nll(theirs.logits, batch.labels)) == theirs.loss.item()
    assert losses.num_counted(batch.labels).tolist() == [3, 3, 3, 3, 2, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("beta", "rise", "expected", "weight"),
    [
        (0.1, 0.0, 13.8629, 1.0),
        (1.0, 0.0, 1.3863, 1.0),
        (0.1, 10.0, 6.2652, 0.5379),
        (0.1, 100.0, 9.08e-4, 9.08e-5),
    ],
)
def test_npo(beta, rise, expected, weight):
    reference = torch.tensor([20.0])
    nll = (reference + rise).requires_grad_()
    loss = losses.npo(nll, reference, beta=beta)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(expected, rel=1e-3)
    assert float(nll.grad) == pytest.approx(-weight, rel=1e-3)


def test_npo_takes_likelihoods_not_logits():
    labels = torch.tensor([[IGNORED, 1, 2]])
    logits = torch.randn(1, 3, 4)
    reference = losses.sequence_nll(logits, labels)
    shifted = losses.sequence_nll(logits + 3, labels)
    assert value(losses.npo(shifted, reference, beta=0.1)) == 13.8629


@pytest.mark.parametrize(
    ("beta", "nll", "expected"),
    [(4.5, 0.0, 0.30807), (4.5, math.log(4), 8.672e-4), (2.5, math.log(4), 0.024617)],
)
def test_simnpo(beta, nll, expected):
    loss = losses.simnpo(torch.tensor([nll]), beta=beta, delta=0.0)
    assert loss.item() == pytest.approx(expected, rel=1e-3)
    moved = losses.simnpo(torch.tensor([nll + 0.7]), beta=beta, delta=0.7)
    assert value(moved) == loss.item()


def test_preferring_neither_answer():
    gain = torch.tensor([-3.0])
    assert value(losses.preference(gain, gain, beta=0.1)) == 13.8629


def test_preferring_the_refusal_lowers_the_loss():
    better = losses.preference(torch.tensor([10.0]), torch.tensor([0.0]), beta=0.1)
    assert value(better) == 6.2652
    rejected = losses.preference(torch.tensor([0.0]), torch.tensor([-10.0]), beta=0.1)
    assert value(rejected) == 6.2652


def test_kl_from_the_reference():
    labels = torch.tensor([[IGNORED, 1, 1, 1, 1]])
    logits = torch.zeros(1, 5, 4)
    logits[0, 0, 0] = 2.0  # one of the four predictions that count differs
    reference = torch.zeros(1, 5, 4)
    assert value(losses.kl_from_reference(logits, reference, labels)) == 0.113615
    assert value(losses.kl_from_reference(reference, logits, labels)) == 0.117003
    shifted = losses.kl_from_reference(reference + 3, reference, labels)
    assert float(shifted) == pytest.approx(0, abs=1e-6)


def test_undial_learns_the_lowered_distribution():
    labels = torch.tensor([[IGNORED, 1]])
    teacher = torch.zeros(1, 2, 2)
    lowered = torch.tensor([[[0.0, -math.log(3)], [9.0, 9.0]]], requires_grad=True)
    uniform = losses.undial(teacher, teacher, labels, beta=math.log(3))
    assert value(uniform) == math.log(2)
    loss = losses.undial(lowered, teacher, labels, beta=math.log(3))
    torch.autograd.backward(loss)
    assert value(loss) == 0.562335  # entropy of (3/4, 1/4)
    assert lowered.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits, labels: losses.ascent(logits, labels),
        lambda logits, labels: losses.kl_from_reference(logits, logits.detach() + 1, labels),
        lambda logits, labels: losses.undial(logits, logits.detach(), labels, beta=10.0),
    ],
    ids=["ascent", "kl", "undial"],
)
def test_prompts_and_padding_get_no_gradient(loss):
    # A vocabulary beyond 100, in which the label -100 would be a valid place.
    logits = torch.randn(1, 6, 200, requires_grad=True)
    labels = torch.tensor([[IGNORED, IGNORED, 5, 6, IGNORED, IGNORED]])
    torch.autograd.backward(loss(logits, labels) + logits.square().sum() * 0)
    touched = logits.grad.abs().sum(-1)[0] > 0
    assert not touched[[0, 3, 4, 5]].any()


def test_control_vector_has_its_length_and_is_positive():
    vector = losses.control_vector(64, scale=20.0, draws=np.random.default_rng(3))
    assert value(vector.norm()) == 20.0
    assert bool((vector >= 0).all())
    again = losses.control_vector(64, scale=20.0, draws=np.random.default_rng(3))
    assert torch.equal(vector, again)


def test_activation_distance_is_a_mean_over_features_tokens_and_sequences():
    labels = torch.tensor([[IGNORED, 1, 1], [IGNORED, 1, IGNORED]])
    activations = torch.tensor(
        [[[9.0, 9.0], [1.0, 3.0], [1.0, 1.0]], [[9.0, 9.0], [5.0, 1.0], [9.0, 9.0]]]
    )
    # to (1, 1): first sequence (0 + 4)/2 and 0, mean 1; second (16 + 0)/2 = 8
    distance = losses.activation_distance(activations, torch.ones(2), labels)
    assert value(distance) == 4.5


def test_logit_difference_lowers_only_what_the_reinforced_model_likes_better():
    logits, reinforced = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 1.0, 0.5])
    assert losses.logit_difference(logits, reinforced, strength=2.0).tolist() == [-3.0, 2.0, -1.0]


def test_task_is_negated_in_float32():
    start = torch.tensor([256.0], dtype=torch.bfloat16)
    tuned = torch.tensor([254.0], dtype=torch.bfloat16)
    # 256 + 1.5 * 2 = 259, which bfloat16 rounds to even: 260
    assert losses.negate_task(start, tuned, strength=1.5).tolist() == [260.0]


@given(
    st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=9), st.floats(0, 1e3)
)
def test_task_vector_of_strength_zero_or_of_no_change_is_the_identity(numbers, strength):
    start = torch.tensor(numbers)
    assert torch.equal(losses.negate_task(start, start, strength=strength), start)
    assert torch.equal(losses.negate_task(start, start * 2, strength=0.0), start)
