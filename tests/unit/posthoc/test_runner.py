"""The runner: what it grants, when it stops, what it checks and records."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from nulls_dist.durable import read_json
from nulls_dist.errors import ConfigError, InputError, RefusedError
from nulls_dist.posthoc.causal_model import Answers, next_token_logits
from nulls_dist.posthoc.contract import Example, Need, Request
from nulls_dist.posthoc.evaluation import recall_of
from nulls_dist.posthoc.gradient_methods import NPO, GradientAscent
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.plan import Ending, Plan, StopRule
from nulls_dist.posthoc.reinforced import TaskVector
from nulls_dist.posthoc.runner import run
from nulls_dist.posthoc.work import Work
from nulls_dist.sources import NO_SOURCE
from tests.tiny_llama import (
    FORGET,
    REQUEST,
    RETAIN,
    build_llama,
    equal_weights,
    forget_nll,
    trained_llama,
    weights_of,
)

PARTS = {
    "forget_text": Need.FORGET_TEXT,
    "forget_prompts": Need.FORGET_PROMPTS,
    "retain_text": Need.RETAIN_TEXT,
    "retain_prompts": Need.RETAIN_PROMPTS,
    "source_ids": Need.SOURCE_IDS,
    "reference": Need.REFERENCE_MODEL,
}


@dataclass(frozen=True, kw_only=True)
class Reader(Method):
    """Declares some needs, does something with the work and changes nothing."""

    name: ClassVar[str] = "reader"

    declared: frozenset[Need] = frozenset()
    do: Callable[[Work], object]

    @property
    def needs(self):
        return self.declared

    @property
    def settings(self):
        return {}

    def unlearn(self, work):
        self.do(work)
        return work.model


@pytest.mark.parametrize("part", PARTS)
def test_a_declared_part_is_given_as_it_is(part):
    seen = []
    reader = Reader(
        declared=frozenset({PARTS[part]}), do=lambda work: seen.append(getattr(work, part))
    )
    run(trained_llama(), reader, REQUEST, Plan(max_steps=1))
    if part == "reference":
        assert equal_weights(seen[0].weights, weights_of(trained_llama()))
    else:
        assert seen == [getattr(REQUEST, part)]


@pytest.mark.parametrize("part", PARTS)
def test_nothing_undeclared_is_within_reach(part):
    model = trained_llama().train()
    reader = Reader(do=lambda work: getattr(work, part))
    with pytest.raises(RefusedError, match=f"it declared nothing: add Need.{PARTS[part].name}"):
        run(model, reader, REQUEST, Plan(max_steps=1))
    assert model.training, "as it was before"


def test_the_steps_of_a_method_without_gradients_have_none():
    def learn_behind_its_back(work):
        torch.autograd.backward(next_token_logits(work.model, torch.tensor([[1]])).sum())

    with pytest.raises(RuntimeError, match="does not require grad"):
        run(trained_llama(), Reader(do=learn_behind_its_back), REQUEST, Plan(max_steps=1))


def test_the_reference_stays_what_the_model_was():
    model, twin = trained_llama(), trained_llama()
    tokens = torch.tensor([FORGET[0].tokens])
    kept = []

    class Keeper(NPO):
        def unlearn(self, work):
            super().unlearn(work)
            kept.append(work.reference.logits(work.model, tokens))
            return work.model

    run(model, Keeper(), REQUEST, Plan(max_steps=3, learning_rate=1e-2))
    with torch.no_grad():
        assert torch.equal(kept[0], twin(input_ids=tokens).logits)
        assert not torch.equal(kept[0], model(input_ids=tokens).logits)


def scores_at(record):
    return [(evaluation.at, evaluation.scores["remembered"]) for evaluation in record.evaluations]


def test_the_run_stops_at_the_first_evaluation_at_or_below_the_value():
    plan = Plan(max_steps=7, learning_rate=1e-3, evaluate_every=2)
    free = run(trained_llama(), GradientAscent(), REQUEST, plan, forget_nll).record
    assert [at for at, _ in scores_at(free)] == [0, 2, 4, 6, 7]
    assert free.ending is Ending.PLAN
    limit = scores_at(free)[2][1]
    ruled = Plan(
        max_steps=7,
        learning_rate=1e-3,
        evaluate_every=2,
        stop=StopRule(score="remembered", at_most=limit),
    )
    outcome = run(trained_llama(), GradientAscent(), REQUEST, ruled, forget_nll)
    assert outcome.record.ending is Ending.RULE
    assert scores_at(outcome.record) == scores_at(free)[:3]
    assert forget_nll(Answers(outcome.model))["remembered"] == limit


def test_a_score_that_is_low_already_changes_nothing():
    model = trained_llama()
    before = weights_of(model)
    plan = Plan(max_steps=5, stop=StopRule(score="remembered", at_most=0.0))
    record = run(model, GradientAscent(), REQUEST, plan, forget_nll).record
    assert record.ending is Ending.ALREADY
    assert equal_weights(before, weights_of(model))


def test_a_rule_needs_its_score():
    plan = Plan(max_steps=5, stop=StopRule(score="forgetfulness", at_most=0.5))
    with pytest.raises(ConfigError, match="'forgetfulness', but nothing is evaluated"):
        run(trained_llama(), GradientAscent(), REQUEST, plan)
    with pytest.raises(
        ConfigError, match=r"'forgetfulness'.* is not among the evaluated scores remember"
    ):
        run(trained_llama(), GradientAscent(), REQUEST, plan, forget_nll)


def test_a_model_that_collapses_is_reported(caplog):
    plan = Plan(max_steps=30, learning_rate=2e-2)
    record = run(trained_llama(), GradientAscent(), REQUEST, plan).record
    sanity = record.sanity
    assert sanity.retain_nll_before < math.log(11) <= sanity.retain_nll_after
    assert sanity.collapsed is True
    assert "collapsed" in caplog.text
    assert "collapsed: YES" in record.summary()


def test_a_model_that_knew_nothing_does_not_collapse():
    plan = Plan(max_steps=2)
    assert run(build_llama(), GradientAscent(), REQUEST, plan).record.sanity.collapsed is False


def test_without_retained_text_nobody_knows_whether_it_collapsed():
    request = Request(forget_text=FORGET)
    sanity = run(trained_llama(), GradientAscent(), request, Plan(max_steps=2)).record.sanity
    assert sanity.collapsed is None


def test_a_run_that_changes_nothing_is_reported(caplog):
    model = trained_llama().to(torch.bfloat16)
    plan = Plan(max_steps=3, learning_rate=1e-12, weight_decay=0.0)
    record = run(model, GradientAscent(), REQUEST, plan).record
    assert not record.sanity.changed
    assert record.sanity.relative_distance == 0
    assert "nothing changed" in caplog.text
    assert f"0 of {record.sanity.num_tensors} tensors changed" in record.summary()


def test_a_run_that_diverges_ends_with_weights_that_are_numbers():
    plan = Plan(max_steps=50, learning_rate=1e30)
    record = run(trained_llama(), GradientAscent(), REQUEST, plan, forget_nll).record
    assert record.ending is Ending.DIVERGED
    assert record.sanity.collapsed is True
    assert record.sanity.has_finite_weights


def test_what_is_no_number_is_null_in_the_record():
    record = run(trained_llama(), GradientAscent(), REQUEST, Plan(max_steps=1)).record
    broken = replace(record.sanity, retain_nll_after=math.nan)
    assert broken.collapsed is True
    assert broken.to_dict()["retain_nll_after"] is None


def test_fine_tuning_that_diverges_leaves_the_model_as_it_was():
    model = trained_llama()
    before = weights_of(model)
    plan = Plan(max_steps=50, learning_rate=1e30)
    record = run(model, TaskVector(strengths=(1.0,)), REQUEST, plan).record
    assert record.ending is Ending.DIVERGED
    assert equal_weights(before, weights_of(model))


def test_the_record_repeats_the_run(tmp_path):
    plan = Plan(max_steps=3, batch_size=2, learning_rate=1e-3, seed=5)
    record = run(trained_llama(), NPO(beta=0.3), REQUEST, plan, recall_of(REQUEST)).record
    record.write(tmp_path / "run.json")
    written = read_json(tmp_path / "run.json")
    assert written == json.loads(json.dumps(record.to_dict()))
    assert written["method"]["name"] == "NPO"
    again = run(
        trained_llama(),
        NPO(**written["method"]["settings"]),
        REQUEST,
        Plan(**written["plan"]),
        recall_of(REQUEST),
    ).record
    assert again.model == written["model"]
    assert again.request == written["request"]
    assert [each.to_dict() for each in again.evaluations] == written["evaluations"]
    digests = written["model"]
    assert digests["weights_sha256_before"] != digests["weights_sha256_after"]


def test_requests_that_differ_have_other_digests():
    variants = [
        REQUEST,
        Request(forget_text=FORGET, retain_text=RETAIN),
        Request(forget_text=RETAIN, retain_text=FORGET),
        Request(forget_text=FORGET[::-1], retain_text=RETAIN),
        Request(forget_text=(Example(tokens=FORGET[0].tokens),)),
        Request(forget_text=(Example(tokens=FORGET[0].tokens, start=2),)),
    ]
    assert len({variant.describe()["sha256"] for variant in variants}) == len(variants)


def test_recall_falls_with_the_text():
    plan = Plan(max_steps=20, learning_rate=3e-3)
    record = run(trained_llama(), GradientAscent(), REQUEST, plan, recall_of(REQUEST)).record
    before, after = record.evaluations[0].scores, record.evaluations[-1].scores
    assert before["forget/accuracy"] > 0.9 > after["forget/accuracy"]
    assert after["forget/nll"] > before["forget/nll"]
    assert set(before) == {"forget/accuracy", "forget/nll", "retain/nll"}


def test_a_frozen_model_cannot_learn():
    model = trained_llama().requires_grad_(False)
    with pytest.raises(InputError, match="no parameter of the model can be trained"):
        run(model, _ascent_of_nothing(), REQUEST, Plan(max_steps=1))


def _ascent_of_nothing():
    class Constant(GradientAscent):
        def forget_loss(self, work, batch):
            return torch.zeros(())

    return Constant()


def test_only_parameters_that_may_change_do():
    model = trained_llama().requires_grad_(False)
    model.model.layers[0].mlp.down_proj.requires_grad_(True)
    before = weights_of(model)
    run(model, GradientAscent(), REQUEST, Plan(max_steps=2, learning_rate=1e-3))
    moved = [name for name, was in before.items() if not torch.equal(was, weights_of(model)[name])]
    assert moved == ["model.layers.0.mlp.down_proj.weight"]


def test_tokens_the_model_does_not_know_are_named():
    for token in (11, -1):
        strange = Request(forget_text=(Example(tokens=(1, token)),))
        with pytest.raises(InputError, match=rf"token {token} is not in the model's vocabulary"):
            run(trained_llama(), GradientAscent(), strange, Plan(max_steps=1))


@pytest.mark.parametrize(("tokens", "start"), [((), 1), ((1,), 1), ((1, 2), 2), ((1, 2), 0)])
def test_an_example_has_something_before_what_counts(tokens, start):
    with pytest.raises(InputError, match=f"an example of {len(tokens)} tokens cannot count from"):
        Example(tokens=tokens, start=start)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("max_steps", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("evaluate_every", 0, "at least 1"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", math.nan, "above 0"),
        ("weight_decay", -1.0, "not be negative"),
        ("seed", -1, "not be negative"),
    ],
)
def test_a_plan_checks_itself(field, value, rule):
    with pytest.raises(ConfigError, match=rf"plan\.{field} \({value}\).*{rule}"):
        Plan(**({"max_steps": 1} | {field: value}))


def test_answers_of_a_padded_batch_are_those_of_each_text():
    model = trained_llama()
    texts = [[1, 2, 3, 4, 5], [6], [7, 4]]
    together = Answers(model).logits(texts, [NO_SOURCE] * 3)
    for text, logits in zip(texts, together, strict=True):
        (alone,) = Answers(model).logits([text], [NO_SOURCE])
        torch.testing.assert_close(logits, alone, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="no sinks to choose from"):
        Answers(model).logits([[1]], [17])


def test_a_model_that_was_training_goes_on_training():
    model = trained_llama().train()
    assert run(model, GradientAscent(), REQUEST, Plan(max_steps=1)).model.training is True
    assert run(model, NPO(), Request(), Plan(max_steps=1)).model.training is True


def test_dropout_is_seeded_and_leaves_the_global_numbers_alone():
    def unlearned():
        model = build_llama(attention_dropout=0.5)
        torch.rand(1)  # another state of the global generator every time
        before = torch.get_rng_state()
        run(model, NPO(), REQUEST, Plan(max_steps=2, learning_rate=1e-3))
        assert torch.equal(before, torch.get_rng_state())
        return weights_of(model)

    assert equal_weights(unlearned(), unlearned())
