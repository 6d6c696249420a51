"""Classifiers of prompts: one interface, two of them."""

import pytest
import torch

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.eco import ECOPrompts
from nulls_dist.posthoc.plan import Plan
from nulls_dist.posthoc.prompt_classifier import HashedNgrams
from nulls_dist.posthoc.runner import run
from nulls_dist.posthoc.transformer_classifier import FinetunedTransformer
from tests.tiny_llama import REQUEST, VOCAB, equal_weights, trained_llama, weights_of

FORGET, RETAIN = [(9, 2, 3), (1, 9), (5, 1, 2, 9)], [(2, 1, 3), (3, 2, 1, 5), (4, 5), (2, 5, 6)]
SHIFT = 3
"""Ids below it are special to the transformer."""


def tiny_bert():
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCAB + SHIFT,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
        )
    )


TRANSFORMER = FinetunedTransformer(
    build=tiny_bert,
    encode=lambda tokens: [1, *(token + SHIFT for token in tokens)],
    learning_rate=1e-2,
    epochs=20,
    batch_size=4,
)
either = pytest.mark.parametrize("recipe", [HashedNgrams(), TRANSFORMER], ids=lambda it: it.name)


@either
def test_prompts_are_told_apart(recipe):
    classifier = recipe.learn(FORGET, RETAIN, seed=0)
    chances = classifier([*FORGET, *RETAIN])
    assert chances.dtype == torch.float64
    assert (chances > 0.5).tolist() == [True] * 3 + [False] * 4
    # one by one as together, whatever the padding
    torch.testing.assert_close(
        torch.cat([classifier([prompt]) for prompt in (*FORGET, *RETAIN)]), chances
    )


@either
def test_the_same_seed_learns_the_same_and_leaves_the_global_numbers_alone(recipe):
    torch.rand(1)
    state = torch.get_rng_state()
    first, second = (recipe.learn(FORGET, RETAIN, seed=3) for _ in range(2))
    assert equal_weights(weights_of(first), weights_of(second))
    assert torch.equal(state, torch.get_rng_state())
    assert not any(parameter.requires_grad for parameter in first.parameters())


@either
def test_a_model_answers_through_either(recipe):
    model = trained_llama()
    before = weights_of(model)
    outcome = run(model, ECOPrompts(classifier=recipe), REQUEST, Plan(max_steps=1))
    classifier = outcome.model.classifier
    assert (classifier(REQUEST.forget_prompts) > 0.5).all()
    assert (classifier(REQUEST.retain_prompts) < 0.5).all()
    assert equal_weights(before, weights_of(model))
    extra = sum(parameter.numel() for parameter in classifier.parameters())
    assert outcome.record.cost.extra_parameters == extra
    assert outcome.record.to_dict()["method"]["settings"]["classifier"]["name"] == recipe.name


@pytest.mark.parametrize("times", [1, 40])
def test_rare_prompts_weigh_as_much_as_frequent_ones(times):
    classifier = HashedNgrams().learn([(1,)], [(2,)] * times, seed=0)
    # Of what it never saw it knows nothing, however many there were of either
    assert classifier([(3,)]).item() == pytest.approx(0.5, abs=1e-3)


def test_hashed_ngrams_see_the_order_of_tokens():
    forget, retain = [(1, 2, 3), (1, 2, 4), (5, 1, 2)], [(2, 1, 3), (3, 2, 1), (4, 2, 1)]
    classifier = HashedNgrams().learn(forget, retain, seed=0)
    assert (classifier(forget) > 0.9).all()
    assert (classifier(retain) < 0.1).all()
    assert classifier([(7, 1, 2)]) > 0.5 > classifier([(7, 2, 1)])
    blind = HashedNgrams(longest=1).learn(forget, retain, seed=0)
    assert blind([(7, 1, 2)]).item() == pytest.approx(blind([(7, 2, 1)]).item())


def test_the_rate_rises_then_falls_as_a_cosine():
    rates = [TRANSFORMER._rate(progress) for progress in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("field", ["longest", "num_features", "inverse_penalty"])
def test_settings_that_cannot_be_are_refused(field):
    with pytest.raises(ConfigError, match=rf"{field} \(0\) must be"):
        HashedNgrams(**{field: 0})
