"""Partial model collapse: which answer is learned, and what it may read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.causal_model import Answers
from nulls_dist.posthoc.collapse import (
    PartialModelCollapse,
    Targets,
    penalised,
    token_recall,
)
from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.plan import Plan
from nulls_dist.posthoc.prompts import prompts_of
from nulls_dist.posthoc.runner import run
from tests.tiny_llama import FORGET, REQUEST, RETAIN, forget_nll, trained_llama

WORDS = ["her", "name", "is", "Ada", "Byron"]
UNKNOWN = ["it", "is", "unknown"]


@pytest.mark.parametrize(
    ("answer", "min_length", "expected"),
    [
        (WORDS, 0, 1.0),
        (UNKNOWN, 0, 0.2),
        ([], 0, 0.0),
        ([], 1, 1.0),
        (["no"], 5, 0.36788),
        (WORDS, 6, 1.0),
        (UNKNOWN, 3, 0.2),
    ],
)
def test_what_an_answer_scores(answer, min_length, expected):
    in_tokens = penalised(token_recall(WORDS, answer), len(answer), min_length)
    assert in_tokens == pytest.approx(expected, rel=1e-4)
    method = PartialModelCollapse(max_new_tokens=1, min_length=min_length, decode=" ".join)
    assert method.score(WORDS, answer) == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_recall_in_tokens_is_rouge_recall(original, answer):
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    theirs = rouge_scorer.RougeScorer(["rougeL"]).score(
        " ".join(map(str, original)), " ".join(map(str, answer))
    )
    assert token_recall(original, answer) == pytest.approx(theirs["rougeL"].recall)


class Scripted:
    """Stands in for the work of a run: writes what it is told to, one list per call."""

    forget_prompts = ((1, 2),)

    def __init__(self, *written):
        self.written = list(written)
        self.asked = []

    def write(self, prompts, num_tokens, choose):
        self.asked.append(len(prompts))
        return self.written.pop(0) if prompts else []

    def draws(self, purpose):
        return np.random.default_rng(0)

    def collate(self, examples, split):
        return [each.tokens[each.start :] for each in examples]


def targets_of(work, **settings):
    return Targets(PartialModelCollapse(max_new_tokens=2, num_samples=2, **settings), work)


def test_the_answer_least_like_the_first_is_kept_until_one_is_no_worse():
    work = Scripted(
        [[5, 6]],  # greedy
        [[5, 6], [5, 7]],  # 1, 1/2
        [[5, 6], [6, 5]],  # 1, 1/2: as good, and newer
        [[7, 7], [5, 6]],  # 0
    )
    targets = targets_of(work)
    assert [targets.batch([(1, 2)]) for _ in range(4)] == [[(5, 7)], [(6, 5)], [(7, 7)], [(7, 7)]]
    assert work.asked == [1, 2, 2, 2, 0]  # no better answer than that without overlap is sought


def test_a_model_that_says_one_thing_is_taught_the_same():
    work = Scripted([[5, 6]], [[5, 6], [5, 6]])
    assert targets_of(work).batch([(1, 2), (1, 2)]) == [(5, 6), (5, 6)]
    assert work.asked == [1, 2]


def test_an_answer_ends_where_it_ends_and_silence_is_best_unless_it_is_too_short():
    said = [[5, 6]], [[0, 6], [5, 5]]
    assert targets_of(Scripted(*said), eos_id=0).batch([(1, 2)]) == [(0,)]
    assert targets_of(Scripted(*said), eos_id=0, min_length=1).batch([(1, 2)]) == [(5, 5)]


@pytest.mark.parametrize("form", ["answers", "documents"])
def test_the_text_is_forgotten_unread(form):
    documents = [Example(tokens=example.tokens) for example in FORGET]
    prompts = {"answers": REQUEST.forget_prompts, "documents": prompts_of(documents, length=2)}
    request = Request(forget_prompts=prompts[form], retain_text=RETAIN)
    method = PartialModelCollapse(max_new_tokens=3, num_samples=8, temperature=2.0, top_p=1.0)
    model = trained_llama()
    before = forget_nll(Answers(model))["remembered"]
    run(model, method, request, Plan(max_steps=10, learning_rate=3e-3))
    assert forget_nll(Answers(model))["remembered"] < before - 0.05


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("num_samples", 0),
        ("temperature", 0.0),
        ("temperature", 101.0),
        ("top_p", 0.0),
        ("top_p", 1.5),
    ],
)
def test_what_cannot_be_sampled_is_refused(field, value):
    with pytest.raises(ConfigError, match=rf"{field} \({value}\) must be"):
        PartialModelCollapse(**({"max_new_tokens": 1} | {field: value}))


def test_a_decoder_is_no_setting_of_the_record():
    settings = PartialModelCollapse(max_new_tokens=4, decode=str).settings
    assert settings["decode"] == "given"
    assert settings["max_new_tokens"] == 4
    assert "name" not in settings


def test_a_prompt_that_is_there_twice_is_asked_once():
    request = Request(forget_prompts=((1, 2), (1, 2), (4, 1)), retain_text=RETAIN)
    method = PartialModelCollapse(max_new_tokens=2, num_samples=3)
    cost = run(trained_llama(), method, request, Plan(max_steps=1)).record.cost
    assert cost.decoded_tokens == 2 * (2 + 2 * 3)
