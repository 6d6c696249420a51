"""ECO prompts on a model of transformers: what is corrupted, when, and what is left alone."""

from dataclasses import replace

import pytest
import torch

from nulls_dist.errors import ConfigError
from nulls_dist.eval.greedy import continue_greedily
from nulls_dist.eval.token_scores import Passage
from nulls_dist.posthoc.causal_model import Answers, next_token_logits
from nulls_dist.posthoc.contract import Need
from nulls_dist.posthoc.corrupted_prompts import CorruptedPrompts, Scope
from nulls_dist.posthoc.corruptions import Noise, ZeroOut
from nulls_dist.posthoc.eco import ECOPrompts
from nulls_dist.posthoc.plan import Ending, Plan
from nulls_dist.posthoc.prompt_classifier import PromptClassifier
from nulls_dist.posthoc.runner import run
from nulls_dist.sources import NO_SOURCE
from tests.tiny_llama import (
    FORGET,
    PROMPT,
    REQUEST,
    RETAIN,
    equal_weights,
    trained_llama,
    weights_of,
)

MARK = 9


class Marked(PromptClassifier):
    """Flags the prompts that have a mark."""

    def forward(self, prompts):
        return torch.tensor([float(MARK in prompt) for prompt in prompts], dtype=torch.float64)


def corrupted(model=None, **settings):
    options = {"strength": 16.0, "threshold": 0.5} | settings
    return CorruptedPrompts(
        model or trained_llama(), Marked(), options.pop("corruption", ZeroOut()), **options
    )


class Embedded:
    """Keeps what stands behind the input embeddings of a model."""

    def __init__(self, answering):
        self.said = []
        layer = answering.model.get_input_embeddings()
        self.clean = layer.weight.detach()
        self.model = answering.model
        self.hook = lambda _, args: self.said.append(args[0])

    def of(self, run):
        """What the first layer reads while something runs; our hooks come before this one."""
        handle = self.model.model.layers[0].register_forward_pre_hook(self.hook)
        try:
            with torch.no_grad():
                run()
        finally:
            handle.remove()
        return self.said.pop()


def places(answering, texts, **lengths):
    """Where embeddings are not those of the tokens: one string per text, x = corrupted."""
    tokens = torch.tensor(texts)
    embedded = Embedded(answering)
    seen = embedded.of(lambda: answering(tokens, **lengths))
    changed = (seen != embedded.clean[tokens]).any(-1)
    return ["".join(".x"[int(each)] for each in row) for row in changed]


def test_of_a_flagged_prompt_all_tokens_but_the_last_change_and_nothing_else():
    texts = [[MARK, 1, 2, 3, 4], [1, MARK, 2, 3, 4], [1, 2, 3, MARK, 4]]
    assert places(corrupted(), texts, prompt_lengths=[3, 3, 3]) == ["xx...", "xx...", "....."]
    assert places(corrupted(), texts) == ["xxxx.", "xxxx.", "xxxx."]


def test_the_compatible_scope_corrupts_the_answer_as_well_but_flags_by_the_prompt():
    texts = [[MARK, 1, 2, 3, 4], [1, 2, 3, MARK, 4]]
    answering = corrupted(scope=Scope.PROMPT_AND_ANSWER)
    assert places(answering, texts, prompt_lengths=[3, 3]) == ["xxxx.", "....."]
    assert places(answering, texts, prompt_lengths=[2, 2], lengths=[3, 4]) == ["xx...", "....."]


def test_a_selector_chooses_and_where_it_finds_nothing_all_but_the_last_change():
    answering = corrupted(select=lambda tokens: [token == 2 for token in tokens])
    texts = [[MARK, 1, 2, 2, 4], [MARK, 1, 3, 2, 4]]
    assert places(answering, texts, prompt_lengths=[4, 3]) == ["..xx.", "xx..."]


def test_a_prompt_of_one_token_has_nothing_to_corrupt():
    assert places(corrupted(), [[MARK, 1, 2, 3, 4]], prompt_lengths=[1]) == ["....."]


def test_other_prompts_are_answered_bit_by_bit_as_before():
    answering, model = corrupted(corruption=Noise(), strength=1e6), trained_llama()
    texts = [[1, 2, 3], [MARK, 1, 2]]
    alone = answering(torch.tensor(texts[:1]))
    assert torch.equal(alone, next_token_logits(model, torch.tensor(texts[:1])))
    together = answering(torch.tensor(texts))
    clean = next_token_logits(model, torch.tensor(texts))
    assert torch.equal(together[0], clean[0])
    assert not torch.allclose(together[1], clean[1])


def test_the_noise_of_a_prompt_is_its_own_wherever_it_stands():
    answering = corrupted(corruption=Noise(), strength=2.0)
    one, two = [MARK, 1, 2], [MARK, 2, 1]
    first = Embedded(answering).of(lambda: answering(torch.tensor([one, two])))
    again = Embedded(answering).of(lambda: answering(torch.tensor([two, one])))
    assert torch.equal(first, again.flip(0))
    assert not torch.equal(first[0, 0], first[1, 0])
    other = corrupted(corruption=Noise(), strength=2.0, seed=1)
    assert not torch.equal(first, Embedded(other).of(lambda: other(torch.tensor([one, two]))))


def test_weights_and_the_hooks_of_others_stay():
    model = trained_llama()
    layer = model.get_input_embeddings()
    seen = []
    kept = []
    foreign = layer.register_forward_hook(
        lambda _, __, said: seen.append("embedding") or kept.append(said)
    )
    model.register_forward_pre_hook(lambda *_: seen.append("model"))
    hooks = [dict(each._forward_hooks) for each in model.modules()]
    before = weights_of(model)
    answering = corrupted(model)
    answering(torch.tensor([[MARK, 1, 2]]))
    with pytest.raises(RuntimeError, match="on purpose"), answering.attached():
        raise RuntimeError("on purpose")
    assert hooks == [dict(each._forward_hooks) for each in model.modules()]
    assert len(model._forward_pre_hooks) == 1
    assert foreign.id in layer._forward_hooks
    assert torch.equal(kept[0], layer.weight[torch.tensor([[MARK, 1, 2]])])
    assert seen == ["model", "embedding"]
    assert equal_weights(before, weights_of(model))
    torch.testing.assert_close(
        next_token_logits(model, torch.tensor([[MARK, 1, 2]])),
        next_token_logits(trained_llama(), torch.tensor([[MARK, 1, 2]])),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("padding", [0, 2])
def test_generate_of_transformers_says_the_same_as_our_decoding(padding):
    answering = corrupted(corruption=Noise(), strength=3.0)
    prompts = [[MARK, 1, 2], [1, 2, 3]]
    ours = continue_greedily(
        Answers(answering), [Passage(tokens=each, source_id=NO_SOURCE) for each in prompts], [6, 6]
    )
    padded = torch.tensor([[5] * padding + prompt for prompt in prompts])
    mask = torch.ones_like(padded)
    mask[:, :padding] = 0
    with answering.attached() as model, torch.no_grad():
        written = model.generate(
            input_ids=padded, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0
        )
    assert written[:, padded.size(1) :].tolist() == ours
    clean = continue_greedily(
        Answers(trained_llama()),
        [Passage(tokens=each, source_id=NO_SOURCE) for each in prompts],
        [6, 6],
    )
    assert ours[0] != clean[0]
    assert ours[1] == clean[1]


def test_a_model_that_does_not_say_where_its_embeddings_are_is_told():
    inner = trained_llama()
    plain = torch.nn.Sequential()
    plain.add_module("inner", inner)
    with pytest.raises(ConfigError, match="name the layer by embedding="):
        corrupted(plain)
    with pytest.raises(ConfigError, match="no layer 'embed'"):
        corrupted(inner, embedding="embed")
    named = corrupted(inner, embedding="model.embed_tokens")
    assert places(named, [[MARK, 1, 2]]) == ["xx."]


PLAN = Plan(max_steps=4)


def test_the_prompts_are_told_apart_and_the_weights_stay():
    model = trained_llama()
    before = weights_of(model)
    outcome = run(model, ECOPrompts(), REQUEST, PLAN)
    classifier = outcome.model.classifier
    assert (classifier(REQUEST.forget_prompts) > 0.5).all()
    assert (classifier(REQUEST.retain_prompts) < 0.5).all()
    assert equal_weights(before, weights_of(model))
    assert outcome.record.sanity.num_changed_tensors == 0
    assert outcome.record.sanity.changed
    kept = torch.tensor([example.tokens for example in RETAIN])
    lengths = [PROMPT] * len(RETAIN)
    assert torch.equal(outcome.model(kept, prompt_lengths=lengths), next_token_logits(model, kept))


def test_without_a_search_the_strength_is_the_given_one_and_answers_are_not_read():
    method = ECOPrompts(search=None, strength=5.0)
    assert Need.FORGET_TEXT not in method.needs
    request = replace(REQUEST, forget_text=())
    looked = []

    def look(answers):
        looked.append(answers.logits([FORGET[0].tokens[:PROMPT]], [NO_SOURCE])[0])
        return {"any": 0.0}

    outcome = run(trained_llama(), method, request, PLAN, look)
    assert outcome.model.strength == 5.0
    assert [(each.at, each.unit.value) for each in outcome.record.evaluations] == [
        (0, "step"),
        (5.0, "strength"),
    ]
    assert not torch.equal(*looked)
    assert outcome.record.cost.forward_tokens["forget"] == 0


def test_the_search_strengthens_what_lowers_the_answers():
    outcome = run(trained_llama(), ECOPrompts(), REQUEST, PLAN)
    assert outcome.model.strength > ECOPrompts().strength


def test_the_search_ends_where_it_is_flat():
    method = ECOPrompts(corruption=ZeroOut(), strength=5.0)  # all is zero, however strong
    outcome = run(trained_llama(), method, REQUEST, PLAN, lambda _: {"any": 0.0})
    assert outcome.model.strength == 5.0
    assert [each.at for each in outcome.record.evaluations] == [0, 5.0]
    assert outcome.record.ending is Ending.METHOD


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("scope", "answer", "must be one of prompt, prompt\\+answer"),
        ("threshold", 1.0, "from 0 to below 1"),
        ("strength", -1.0, "must not be negative"),
    ],
)
def test_settings_that_cannot_be_are_refused(field, value, rule):
    with pytest.raises(ConfigError, match=f"{field}.*{rule}"):
        ECOPrompts(**{field: value})


def test_the_settings_name_their_parts():
    settings = ECOPrompts(corruption=Noise(num_dims=1)).settings
    assert settings["corruption"] == {"name": "noise", "dims": "first", "num_dims": 1}
    assert settings["classifier"]["name"] == "hashed n-grams"
    assert settings["select"] == "all_but_last"
    assert settings["search"]["step_size"] == 100.0
