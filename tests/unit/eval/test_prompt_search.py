"""The gradient of a prompt's tokens is right, and the search finds what exhaustive search finds."""

from itertools import product

import pytest
import torch
from torch.nn import functional

from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.metrics.compression import SearchPlan
from nulls_dist.eval.prompt_search import (
    PromptSearch,
    SwapSettings,
    Target,
    compress,
    compression_results,
)
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_factory import build_checkpoint, key_id

SOURCE = key_id("k-3")
LETTERS = range(1, 29)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture
def model(checkpoint):
    with load_for_inference(checkpoint) as loaded:
        yield loaded


def written_after(model, prompts, num_tokens=3):
    texts = [list(prompt) for prompt in prompts]
    for _ in range(num_tokens):
        for text, logits in zip(texts, model.logits(texts, [SOURCE] * len(texts)), strict=True):
            text.append(int(logits[-1].argmax()))
    return {prompt: tuple(text[-num_tokens:]) for prompt, text in zip(prompts, texts, strict=True)}


@pytest.mark.parametrize("source_id", [SOURCE, NO_SOURCE])
def test_the_gradient_of_a_token_is_that_of_its_embedding(model, source_id):
    text, target = [3, 4, 5, 6], torch.tensor([7, 8, 9, 1])

    def loss(logits):
        return functional.cross_entropy(logits, target)

    gradient = model.token_gradient(text, source_id, loss)
    assert gradient.shape == (4, 30)
    table = model._model.embedding.word_embeddings.weight
    place, other = 2, 11
    kept = table[text[place]].detach().clone()
    slope = torch.zeros(())
    with torch.no_grad():
        step = 1e-2
        for sign in (1, -1):  # only this token's row moves: the text holds it once
            table[text[place]] = kept + sign * step * table[other]
            (logits,) = model.logits([text], [source_id])
            slope += sign * loss(logits) / (2 * step)
            table[text[place]] = kept
    assert gradient[place, other].item() == pytest.approx(slope.item(), rel=0.02, abs=1e-4)


def test_the_gradient_leaves_the_model_alone(model):
    (before,) = model.logits([[3, 4, 5]], [SOURCE])
    gradient = model.token_gradient([3, 4, 5], SOURCE, lambda logits: logits.sum())
    assert torch.equal(model.logits([[3, 4, 5]], [SOURCE])[0], before)
    assert all(parameter.grad is None for parameter in model._model.parameters())
    assert not gradient.requires_grad


def test_the_search_finds_what_exhaustive_search_finds(model):
    after = written_after(model, [*product(LETTERS, repeat=2), *product(LETTERS, repeat=1)])
    written = after[17, 4]
    eliciting = [prompt for prompt, text in after.items() if text == written]
    shortest = min(map(len, eliciting))
    target = Target(tokens=written, source_id=SOURCE, allowed=LETTERS)
    plan = SearchPlan(first_length=2, stride=1, longest_per_token=1, num_steps=20)
    found = compress(model, target, plan)
    assert found.prompt in eliciting
    assert len(found.prompt) == shortest
    assert compress(model, target, plan) == found  # the same seed, the same prompt
    ratio, share = compression_results("toy", [found], [SOURCE])
    assert ratio.value == len(written) / len(found.prompt)
    assert share.value == (ratio.value > 1)
    assert ratio.details == {"n_censored": 0}


def test_prompts_are_made_of_allowed_tokens_and_failure_is_reported(model):
    target = Target(tokens=(29, 29, 29), source_id=SOURCE, allowed=(5, 6))
    search = PromptSearch(model, target, SwapSettings(num_candidates=8, best_tokens=3))
    asked = []
    logits_of = model.logits
    try:
        model.logits = lambda texts, ids: asked.extend(texts) or logits_of(texts, ids)
        assert search.elicit(3, num_steps=2) is None
    finally:
        del model.logits
    assert {token for text in asked for token in text[:3]} <= {5, 6}
    assert len(asked) == 1 + 2 * 8
    found = compress(model, target, SearchPlan(longest_per_token=1, num_steps=1))
    (ratio, share) = compression_results("toy", [found, found], [SOURCE, NO_SOURCE])
    assert (share.value, ratio.details) == (0, {"n_censored": 2})
