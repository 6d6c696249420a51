"""Selective ascent and task arithmetic: each text by how well it is known."""

from dataclasses import replace

import pytest

from nulls_dist.errors import ConfigError
from nulls_dist.eval.recitation import accuracies
from nulls_dist.posthoc.causal_model import Answers
from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.evaluation import memorization, score_examples
from nulls_dist.posthoc.plan import Ending, Plan, StopRule
from nulls_dist.posthoc.reinforced import TaskVector
from nulls_dist.posthoc.runner import run
from nulls_dist.posthoc.selective import SelectiveGradientAscent, TaskArithmeticUnlearning
from tests.tiny_llama import FORGET, REQUEST, equal_weights, trained_llama, weights_of

PLAN = Plan(max_steps=3, batch_size=4, learning_rate=1e-3)
UNKNOWN = Example(tokens=(9, 9, 10, 8, 10), start=2)


def shares(model, examples):
    return accuracies(score_examples(Answers(model), examples))


def unlearned(method, examples, plan=PLAN):
    model = trained_llama()
    record = run(model, method, Request(forget_text=examples), plan).record
    return weights_of(model), record


def test_a_text_below_the_threshold_has_no_part_in_the_steps():
    known = FORGET[0]
    assert shares(trained_llama(), (known, UNKNOWN)) == [1.0, 0.0]
    method = SelectiveGradientAscent(threshold=0.4)
    one_step = replace(PLAN, max_steps=1)
    both, _ = unlearned(method, (known, UNKNOWN), one_step)
    alone, _ = unlearned(method, (known,), one_step)
    assert equal_weights(both, alone)
    assert not equal_weights(both, weights_of(trained_llama()))


def test_texts_at_the_threshold_leave_the_model_as_it_is(caplog):
    after, record = unlearned(SelectiveGradientAscent(threshold=0.0), (UNKNOWN,))
    assert equal_weights(after, weights_of(trained_llama()))
    assert record.ending is Ending.METHOD
    assert record.cost.forward_tokens["forget"] == len(UNKNOWN.tokens)
    assert "nothing changed" not in caplog.text


def test_the_outlier_goes_although_the_mean_is_low():
    texts = (FORGET[0], *[UNKNOWN] * 9)
    model = trained_llama()
    assert memorization(Answers(model), texts) < 0.2
    plan = Plan(max_steps=50, batch_size=4, learning_rate=3e-3, evaluate_every=4)
    looked = []

    def look(answers):
        looked.append(memorization(answers, texts))
        return {"mean": looked[-1]}

    request = Request(forget_text=texts)
    record = run(model, SelectiveGradientAscent(threshold=0.4), request, plan, look).record
    assert record.ending is Ending.METHOD
    assert max(shares(model, texts)) <= 0.4
    # It is evaluated where it ends, once
    steps = record.cost.backward_tokens["forget"] // len(FORGET[0].tokens)
    assert [each.at for each in record.evaluations][-1] == steps
    assert len({each.at for each in record.evaluations}) == len(looked)
    assert looked[-1] == memorization(Answers(model), texts)


def test_a_pass_takes_each_text_once_and_is_chosen_anew():
    plan = Plan(max_steps=4, batch_size=2, learning_rate=1e-6)
    _, record = unlearned(SelectiveGradientAscent(threshold=0.4), FORGET, plan)
    # Two passes of two steps, and all texts measured before each
    assert record.cost.forward_tokens["forget"] == 2 * (20 + 2 * 10)
    assert record.ending is Ending.PLAN


def test_task_arithmetic_of_strength_zero_is_selective_ascent():
    ascent, _ = unlearned(SelectiveGradientAscent(threshold=0.4), FORGET)
    both, _ = unlearned(TaskArithmeticUnlearning(threshold=0.4, strengths=(0.0,)), FORGET)
    assert equal_weights(ascent, both)


def test_task_arithmetic_where_nothing_is_above_the_threshold_is_a_task_vector():
    task, _ = unlearned(TaskVector(strengths=(1.0,)), (UNKNOWN,))
    both, _ = unlearned(TaskArithmeticUnlearning(threshold=0.4, strengths=(1.0,)), (UNKNOWN,))
    assert equal_weights(task, both)


def test_task_arithmetic_goes_on_from_what_ascent_left():
    """As a run of a task vector on the ascended model, whose optimizer is new."""
    ascended = trained_llama()
    request = Request(forget_text=FORGET)
    run(ascended, SelectiveGradientAscent(threshold=0.4), request, PLAN)
    run(ascended, TaskVector(strengths=(0.5,)), request, PLAN)
    both, _ = unlearned(TaskArithmeticUnlearning(threshold=0.4, strengths=(0.5,)), FORGET)
    assert equal_weights(weights_of(ascended), both)


def test_nothing_is_subtracted_where_ascent_met_the_rule():
    def look(answers):
        return {"remembered": memorization(answers, FORGET)}

    plan = Plan(
        max_steps=40,
        learning_rate=3e-3,
        evaluate_every=1,
        stop=StopRule(score="remembered", at_most=0.8),
    )
    method = TaskArithmeticUnlearning(threshold=0.0)
    record = run(trained_llama(), method, REQUEST, plan, look).record
    assert record.ending is Ending.RULE
    assert {each.unit.value for each in record.evaluations} == {"step"}


def test_strengths_without_a_rule_are_refused_before_anything_changes():
    model = trained_llama()
    before = weights_of(model)
    with pytest.raises(ConfigError, match="nothing chooses among the strengths"):
        run(model, TaskArithmeticUnlearning(threshold=0.4), REQUEST, PLAN)
    assert equal_weights(before, weights_of(model))


@pytest.mark.parametrize("kind", [SelectiveGradientAscent, TaskArithmeticUnlearning])
@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_a_threshold_that_no_text_is_above_is_refused(kind, threshold):
    with pytest.raises(ConfigError, match=rf"threshold \({threshold}\) must be from 0 to below 1"):
        kind(threshold=threshold)
